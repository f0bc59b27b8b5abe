import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';

/** Outcomes of gaps, for the store: sent from the filler to the main thread. */
export interface FillReport {
  /** requested in vain */
  tried: TriedRange[];
  /** proved not to exist on the sequencer */
  unfillable: TickRange[];
}

export interface TriedRange extends TickRange {
  error: string;
  /** when it is requested again, ms from now */
  waitMs: number;
}

/** Maximum attempts in one report: the lowest ones are reported, the others at one of their next turns. */
const TRIED_MAX = 256;
/** Minimum time between two reports, ms. */
const REPORT_MS = 1_000;

/** Collects reports and sends them at most once a second. */
export class FillReporter {
  readonly #send: (report: FillReport) => void;
  #tried: TriedRange[] = [];
  #unfillable = new RangeSet();
  #timer: NodeJS.Timeout | null = null;

  constructor(send: (report: FillReport) => void) {
    this.#send = send;
  }

  tried(range: TriedRange): void {
    const before = this.#tried.at(-1);
    if (before !== undefined && before.last + 1n === range.first && before.error === range.error) {
      this.#tried[this.#tried.length - 1] = { ...range, first: before.first };
    } else if (this.#tried.length < TRIED_MAX) this.#tried.push(range);
    this.#arm();
  }

  unfillable(range: TickRange): void {
    this.#unfillable.add(range);
    this.#arm();
  }

  /** Unsent reports are dropped: the next start requests those numbers again. */
  clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#tried = [];
    this.#unfillable = new RangeSet();
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      const report = { tried: this.#tried, unfillable: [...this.#unfillable.list()] };
      this.clear();
      this.#send(report);
    }, REPORT_MS);
  }
}
