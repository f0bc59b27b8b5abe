import type {
  LiveTickTable,
  SnapshotText,
  StoredTick,
  SymbolName,
  TickKey,
} from '../../../store/live/ticks.ts';

export interface HistoryOptions {
  table: Pick<LiveTickTable, 'symbols' | 'slice' | 'firstAt'>;
  /** of names, null: all */
  names: readonly string[] | null;
  provider: string | null;
  snapshot: SnapshotText;
  without: SnapshotText | null;
  fromUs: bigint;
  /** null: from the beginning of it */
  last: TickKey | null;
}

const PAGE_ROWS = 2_000;
const SLICE_FIRST_US = 1_000_000n;
const SLICE_MAX_US = 3_600_000_000n;
const GROWTH = 4n;

/**
 * The ticks of a snapshot from a time on, in the order of (ts, provider, symbol, seq), by pages. Each page is a slice of time: the
 * key of tick_data begins with provider and symbol, so a page is merged from the parts of all symbols, and a slice that
 * holds about a page keeps those parts small. Nothing is open between two pages.
 */
export class TickHistory {
  readonly #options: HistoryOptions;
  #symbols: SymbolName[] | null = null;
  #at: bigint;
  #last: TickKey | null;
  #widthUs = SLICE_FIRST_US;
  #isEmpty = true;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#last = options.last;
    this.#at = options.last !== null && options.last.ts > options.fromUs ? options.last.ts : options.fromUs;
  }

  /** Null: there is nothing more. Rejects as the database does, and may be repeated. */
  async next(): Promise<StoredTick[] | null> {
    const { table, names, provider, snapshot, without } = this.#options;
    this.#symbols ??= await table.symbols(names, provider);
    const symbols = this.#symbols;
    if (symbols.length === 0) return null;
    if (this.#isEmpty) {
      const first = await table.firstAt(symbols, this.#at);
      if (first === null) return null;
      if (first > this.#at) this.#at = first;
    }
    const to = this.#at + this.#widthUs;
    const slice = { symbols, from: this.#at, to, after: this.#last, snapshot, without, limit: PAGE_ROWS };
    const rows = await table.slice(slice);
    const last = rows.at(-1);
    if (last !== undefined) this.#last = last;
    this.#isEmpty = rows.length === 0;
    if (last !== undefined && rows.length === PAGE_ROWS) {
      // the next page begins behind this row; about as wide as what this one took of its slice
      const taken = last.ts - this.#at;
      this.#at = last.ts;
      this.#widthUs = taken < 1n ? 1n : taken;
    } else {
      this.#at = to;
      if (rows.length < PAGE_ROWS / 4) this.#widthUs *= GROWTH;
      else if (rows.length < PAGE_ROWS / 2) this.#widthUs *= 2n;
      if (this.#widthUs > SLICE_MAX_US) this.#widthUs = SLICE_MAX_US;
    }
    return rows;
  }
}
