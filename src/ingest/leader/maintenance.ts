import type { GapBook } from '../gaps/recorder.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { Steward, Trouble } from './ledger-client.ts';

export interface ChoresHost {
  isLeading(): boolean;
  trouble(trouble: Trouble): void;
}

const EVERY_MS = 5_000;

/** What the leader does every few seconds: merges the ledger, counts gaps and dead letters. One round at a time. */
export class Chores {
  readonly #steward: Steward;
  readonly #pipeline: Pipeline;
  readonly #gaps: GapBook;
  readonly #host: ChoresHost;
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;

  constructor(steward: Steward, pipeline: Pipeline, gaps: GapBook, host: ChoresHost) {
    this.#steward = steward;
    this.#pipeline = pipeline;
    this.#gaps = gaps;
    this.#host = host;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#round(), EVERY_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async #round(): Promise<void> {
    const { epoch, quietUpTo } = this.#pipeline;
    if (!this.#host.isLeading() || this.#isBusy) return;
    this.#isBusy = true;
    try {
      if (epoch !== null && quietUpTo !== null) await this.#steward.mergeLedger(epoch, quietUpTo);
      await this.#gaps.retry();
      this.#host.trouble(await this.#steward.readTrouble());
    } catch {
      // chores wait for better days; the lease and the writers report the database's state
    } finally {
      this.#isBusy = false;
    }
  }
}
