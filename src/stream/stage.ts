/**
 * What every long-running part keeps to. start() resolves when it runs (or waits for a server that is away: that is
 * running, too); stop() stops taking, finishes what is in hand, and resolves when all is closed, also when it is called
 * twice or before start(). `done` settles once: resolved after stop(), rejected with what ended it.
 */
export interface Stage {
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly done: Promise<void>;
}
