/**
 * The contract of every long-running part. start() resolves when it runs (waiting for a server that is down counts as
 * running); stop() takes no more input, finishes work in progress and resolves when everything is closed, also when
 * called twice or before start(). `done` settles once: resolves after stop(), rejects with the error that ended it.
 */
export interface Stage {
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly done: Promise<void>;
}

type State = 'new' | 'working' | 'ended';

/**
 * Start, stop and end of a stage: work() is called once and runs until `stopping` aborts or it is done; then finish()
 * releases its resources, whatever the outcome.
 *
 *   state     event                        next
 *   new       start()                      working   work() is called
 *   new       stop()                       ended     `done` resolves; start() does nothing any more
 *   working   stop()                       working   `stopping` aborts; resolves when it has ended
 *   working   work() and finish() settled  ended     `done` settles as they did; resolves when it was stopped before
 */
export class StageLifecycle implements Stage {
  readonly #work: () => Promise<void>;
  readonly #finish: (error: Error | null) => Promise<void>;
  readonly #stopping = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #state: State = 'new';

  /** @param finish gets the error that ended the work; null when it is done or was stopped */
  constructor(work: () => Promise<void>, finish: (error: Error | null) => Promise<void>) {
    this.#work = work;
    this.#finish = finish;
    this.#done.promise.catch(() => {}); // nobody has to await it: no unhandled rejection
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  start(): Promise<void> {
    if (this.#state === 'new') {
      this.#state = 'working';
      void this.#run();
    }
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#state === 'new') {
      this.#state = 'ended';
      this.#done.resolve();
    }
    await this.#done.promise.catch(() => {});
  }

  async #run(): Promise<void> {
    let failure: Error | null = null;
    try {
      await this.#work();
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    const stopped = this.stopping.aborted;
    try {
      await this.#finish(stopped ? null : failure);
    } catch (error) {
      failure ??= error as Error;
    }
    this.#state = 'ended';
    if (failure === null || stopped) this.#done.resolve();
    else this.#done.reject(failure);
  }
}
