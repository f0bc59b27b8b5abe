import type { Stage } from './stage.ts';

/**
 * Start, stop and end of a stage, as the contract has them: work() is called once, runs until `stopping` says so or until
 * it is done, and finish() closes what it used, whatever came of it.
 */
export class StageLife implements Stage {
  readonly #work: () => Promise<void>;
  readonly #finish: (error: Error | null) => Promise<void>;
  readonly #stopping = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #running = false;

  constructor(work: () => Promise<void>, finish: (error: Error | null) => Promise<void>) {
    this.#work = work;
    this.#finish = finish;
    this.#done.promise.catch(() => {}); // whoever awaits it is told; nobody has to
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  start(): Promise<void> {
    if (!this.#running && !this.#stopping.signal.aborted) {
      this.#running = true;
      void this.#run();
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (!this.#running) this.#done.resolve();
    await this.#done.promise.catch(() => {});
  }

  async #run(): Promise<void> {
    let failure: Error | null = null;
    try {
      await this.#work();
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    const stopped = this.#stopping.signal.aborted;
    try {
      await this.#finish(stopped ? null : failure);
    } catch (error) {
      failure ??= error as Error;
    }
    if (failure === null || stopped) this.#done.resolve();
    else this.#done.reject(failure);
  }
}
