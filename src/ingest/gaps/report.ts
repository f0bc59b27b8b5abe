import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';

/** What became of gaps, for the store: sent from the filler to the main thread. */
export interface FillReport {
  /** asked for in vain */
  tried: TriedRange[];
  /** proved not to exist on the sequencer */
  unfillable: TickRange[];
}

export interface TriedRange extends TickRange {
  error: string;
  /** when it is asked for again, ms from now */
  waitMs: number;
}

/** Most attempts told of at once: of more the lowest are told, the others at one of their next turns. */
const TRIED_MAX = 256;
/** Least time between two reports, ms. */
const REPORT_MS = 1_000;

/** Gathers what is to be reported and sends it once a second at most. */
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

  /** What was not sent is forgotten: the next start asks again. */
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
