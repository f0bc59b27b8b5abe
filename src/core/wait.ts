/** All ways to wait: for a time, for a signal, for work with a time limit. */

/** Resolves after `ms`, or at once when `signal` aborts; never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

/** Resolves with the result of `work`, or with null as soon as `signal` aborts; the work itself continues. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | null> {
  if (signal.aborted) {
    work.catch(() => {});
    return null;
  }
  let abort: (() => void) | null = null;
  const aborted = new Promise<null>((resolve) => {
    abort = () => resolve(null);
    signal.addEventListener('abort', abort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (abort !== null) signal.removeEventListener('abort', abort);
    work.catch(() => {});
  }
}

/**
 * Settles like `work`, or rejects with late() after `ms`. The work is not stopped: the caller must release its resources
 * (a connection, for example). The timer keeps the process alive.
 */
export function deadline<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** True when the work settles within `ms`, successfully or not; otherwise it continues. */
export function atMost(work: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    const end = (): void => {
      clearTimeout(timer);
      resolve(true);
    };
    work.then(end, end);
  });
}

/** Wakes all current waiters; a signal without waiters is lost, so check the condition before waiting. */
export class Signal {
  #waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  fire(): void {
    if (this.#waiting.length === 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A wait that can be ended early. One waiter at a time; a wake() without a waiter is lost. */
export class WakeableWait {
  #end: (() => void) | null = null;

  /** Resolves after `ms` or at wake(); with Infinity only at wake(). */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#end = null;
        resolve();
      };
      const timer = ms === Infinity ? undefined : setTimeout(end, ms);
      this.#end = end;
    });
  }

  wake(): void {
    this.#end?.();
  }
}
