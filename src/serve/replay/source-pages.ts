import type { ReplayPosition, Series } from '../../core/replay/position.ts';
import type { ReplaySource } from '../../core/replay/request.ts';
import type { ReplayRows } from '../../core/replay/rows.ts';
import type { PageFrom } from '../../store/replay/ticks.ts';

export interface ReplayPage {
  rows: ReplayRows;
  hasMore: boolean;
}

export interface SourcePagesOptions {
  source: ReplaySource;
  series: readonly Series[];
  from: PageFrom;
  read: (from: PageFrom) => Promise<ReplayPage>;
}

/** The rows of one source in their order, a page ahead of who takes them. */
export class SourcePages {
  readonly #options: SourcePagesOptions;
  #page: ReplayPage | null = null;
  #ahead: Promise<ReplayPage> | null;
  /** of the page */
  #at = 0;

  constructor(options: SourcePagesOptions) {
    this.#options = options;
    this.#ahead = this.#read(options.from);
  }

  get source(): ReplaySource {
    return this.#options.source;
  }

  /** Resolves once nextUs is known. Rejects as the read does. */
  async ready(): Promise<void> {
    while ((this.#page === null || this.#at === this.#page.rows.rows) && this.#ahead !== null) {
      const page = await this.#ahead;
      this.#page = page;
      this.#at = 0;
      const after = page.hasMore ? this.positionOf(page.rows, page.rows.rows - 1) : null;
      this.#ahead = after === null ? null : this.#read({ ...this.#options.from, after });
    }
  }

  /** Whether ready() has something to wait for. */
  get isShort(): boolean {
    return this.#ahead !== null && (this.#page === null || this.#at === this.#page.rows.rows);
  }

  /** Time of the next row, µs; Infinity: there is none. */
  get nextUs(): number {
    const page = this.#page;
    return page === null || this.#at === page.rows.rows ? Infinity : page.rows.tsUs(this.#at);
  }

  /** Rows of the page up to `untilUs`, included or not, `max` at most. */
  take(untilUs: number, isIncluded: boolean, max: number): { rows: ReplayRows; from: number; to: number } {
    if (this.#page === null) throw new Error('nothing was read yet');
    const { rows } = this.#page;
    const from = this.#at;
    const end = Math.min(rows.rows, from + max);
    let to = from;
    while (to < end && (isIncluded ? rows.tsUs(to) <= untilUs : rows.tsUs(to) < untilUs)) to += 1;
    this.#at = to;
    return { rows, from, to };
  }

  positionOf(rows: ReplayRows, row: number): ReplayPosition {
    const { provider, symbol } = this.#options.series[rows.series[row]];
    return { tsUs: rows.ts[row], source: this.source, provider, symbol, seq: rows.seq[row] };
  }

  #read(from: PageFrom): Promise<ReplayPage> {
    const reading = this.#options.read(from);
    // nobody may be waiting when it fails
    reading.catch(() => {});
    return reading;
  }
}
