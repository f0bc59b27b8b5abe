import { Worker } from 'node:worker_threads';
import type { Clock } from '../core/time.ts';

/** `name.worker.ts` beside the module `beside` (its import.meta.url). Compiled code runs as .js, the sources as .ts. */
export function workerFile(beside: string, name: string): URL {
  return new URL(`./${name}.worker.${beside.endsWith('.ts') ? 'ts' : 'js'}`, beside);
}

export interface WorkerOptions<From> {
  file: URL;
  clock: Clock;
  /** of the thread, for operators and debuggers */
  name: string;
  /** workerData, evaluated at each start */
  data(): unknown;
  message(message: From): void;
  /** It exited on its own, and is restarted after `waitMs`. */
  died(failure: Error, waitMs: number): void;
  /** Its successor runs and accepts messages. */
  restarted?(failure: Error): void;
  /** How long to wait before the next start, ms; `deaths`: how many times in a row it died young. */
  waitMs(deaths: number): number;
}

/** A thread that lived this long did not die at once: its next wait is short again, ms. */
const LONG_LIFE_MS = 60_000;

/**
 * A worker thread that is restarted when it exits on its own, after a wait, so that one that dies at once does not
 * spin. Messages sent to the dead one are lost: their sender learns so by died() or restarted().
 *
 *   running ── ends ─► died() ── waitMs ─► running, restarted()
 *      └────── stop() or terminate(), from either ─► stopped
 */
export class RestartedWorker<To, From> {
  readonly #options: WorkerOptions<From>;
  #worker: Worker | null = null;
  #deaths = 0;
  #restart: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: WorkerOptions<From>) {
    this.#options = options;
    this.#spawn();
  }

  /** A message sent while the thread is down is lost. */
  post(message: To): void {
    this.#worker?.postMessage(message);
  }

  /** Asks the thread to end, and terminates it when it has reported `done`, or after `ms`. Resolves when it is gone. */
  async stop(request: To, { done, ms }: { done?: Promise<void>; ms?: number }): Promise<void> {
    this.#endRestarts();
    const worker = this.#worker;
    if (worker === null) return;
    const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.postMessage(request);
    const timer = ms === undefined ? undefined : setTimeout(() => void worker.terminate(), ms);
    await (done === undefined ? gone : Promise.race([gone, done]));
    clearTimeout(timer);
    await worker.terminate();
  }

  /** Terminates it at once. */
  async terminate(): Promise<void> {
    this.#endRestarts();
    await this.#worker?.terminate();
  }

  #endRestarts(): void {
    this.#stopped = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
  }

  #spawn(): void {
    const options = this.#options;
    const bornMs = options.clock.monotonicMs();
    const worker = new Worker(options.file, { workerData: options.data(), name: options.name });
    let failure = new Error('the thread ended');
    this.#worker = worker;
    worker.on('message', (message: From) => options.message(message));
    worker.on('error', (error) => {
      failure = error as Error;
    });
    worker.on('exit', () => {
      this.#worker = null;
      if (this.#stopped) return;
      if (options.clock.monotonicMs() - bornMs > LONG_LIFE_MS) this.#deaths = 0;
      const ms = options.waitMs(this.#deaths);
      this.#deaths += 1;
      options.died(failure, ms);
      this.#restart = setTimeout(() => {
        this.#spawn();
        options.restarted?.(failure);
      }, ms);
    });
  }
}
