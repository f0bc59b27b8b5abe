import type { GapRecorder } from '../gaps/recorder.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { IngestObserver } from '../observer.ts';
import type { LedgerClient } from './ledger-client.ts';

const EVERY_MS = 5_000;

/**
 * The leader's periodic work, every few seconds: merges the ledger, counts gaps and dead letters. One round at a time.
 */
export class Maintenance {
  readonly #ledger: LedgerClient;
  readonly #pipeline: Pipeline;
  readonly #gaps: GapRecorder;
  readonly #observer: IngestObserver;
  readonly #isLeading: () => boolean;
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;

  constructor(
    ledger: LedgerClient,
    pipeline: Pipeline,
    gaps: GapRecorder,
    observer: IngestObserver,
    isLeading: () => boolean,
  ) {
    this.#ledger = ledger;
    this.#pipeline = pipeline;
    this.#gaps = gaps;
    this.#observer = observer;
    this.#isLeading = isLeading;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#round(), EVERY_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async #round(): Promise<void> {
    const { progress, quietUpTo } = this.#pipeline;
    if (!this.#isLeading() || this.#isBusy) return;
    this.#isBusy = true;
    try {
      if (progress !== null && quietUpTo !== null) await this.#ledger.mergeLedger(progress.epoch, quietUpTo);
      await this.#gaps.retry();
      this.#observer.incidents(await this.#ledger.readIncidentCounts());
    } catch {
      // none of it is urgent: the next round retries; the lease and the writers report the database's state
    } finally {
      this.#isBusy = false;
    }
  }
}
