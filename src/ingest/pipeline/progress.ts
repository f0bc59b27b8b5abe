import { contiguousPrefix, RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { LedgerState } from '../../store/chain/ledger.ts';

/** What one run knows to be recorded: the ledger at its start, and its own commits since. */
export class RunProgress {
  readonly epoch: bigint;
  /** the first tick of the chain; null until it is recorded */
  origin: bigint | null;
  readonly #ranges: RangeSet;
  readonly #openGaps: RangeSet;
  readonly #ahead: RangeSet;

  constructor(epoch: bigint, ledger: Omit<LedgerState, 'brake'>) {
    const { origin, position, storedAhead, openGaps, unfillable } = ledger;
    this.epoch = epoch;
    this.origin = origin;
    this.#ranges = new RangeSet([...storedAhead, ...openGaps, ...unfillable]);
    if (origin !== null && position !== null && position >= origin) {
      this.#ranges.add({ first: origin, last: position });
    }
    this.#openGaps = new RangeSet(openGaps);
    this.#ahead = new RangeSet(storedAhead);
  }

  /** A batch is committed. */
  record({ range, gaps, fills }: BatchWrite): void {
    for (const gap of gaps) {
      this.#openGaps.add(gap);
      this.#ranges.add(gap);
    }
    if (range === null) return;
    this.#ranges.add(range);
    if (fills) this.#openGaps.remove(range);
  }

  get position(): bigint | null {
    return this.origin === null ? null : contiguousPrefix(this.origin, this.#ranges);
  }

  /** The position, or the end of what lies below the lowest open gap. */
  get completeUpTo(): bigint | null {
    const { position } = this;
    const gap = this.#openGaps.list()[0];
    return position === null || gap === undefined || gap.first > position ? position : gap.first - 1n;
  }

  get openGaps(): readonly TickRange[] {
    return this.#openGaps.list();
  }

  /** Includes gaps. */
  list(): TickRange[] {
    return this.#ranges.list().map((range) => ({ ...range }));
  }

  /** The store reports that these are no longer open. */
  gaveUp(range: TickRange): void {
    this.#openGaps.remove(range);
  }

  /** Whether everything received of this number is committed, or the number lies below the origin. */
  isSettled(number: bigint): boolean {
    return this.origin !== null && (number < this.origin || this.#ranges.has(number));
  }

  /** Whether an earlier run stored it beyond the position at which this run started. */
  wasAhead(tick: bigint): boolean {
    return this.#ahead.has(tick);
  }
}
