import { isNullAt } from '../table/batch.ts';
import type { Series } from './position.ts';
import type { ReplayRows } from './rows.ts';

/**
 * What the digest of a run is of: for each event, in order,
 *
 *   provider, NUL, symbol, NUL          UTF-8
 *   src_ts, seq                         int64, µs since 1970 and the number
 *   price, size, bid, ask               float64; null is the NaN 7ff8000000000000
 *   side                                int8: 1 buy, −1 sell, 0 null
 *
 * all big-endian. A bar has o, h, l, c, v in place of the four, and 2 for the side.
 */
const FIXED_BYTES_MAX = 8 + 8 + 5 * 8 + 1;
const NAN_HIGH = 0x7ff80000;
const SIDE_OF_BAR = 2;
const NUL = Buffer.from([0]);

/** Writes rows of a page as the digest has them. */
export class RowBytes {
  readonly #heads: readonly Uint8Array[];
  readonly #headMax: number;
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);

  constructor(series: readonly Series[]) {
    this.#heads = series.map(({ provider, symbol }) =>
      Buffer.concat([Buffer.from(provider), NUL, Buffer.from(symbol), NUL]),
    );
    this.#headMax = Math.max(...this.#heads.map(({ length }) => length));
  }

  /** Rows [from, to). The bytes are written over by the next call. */
  of(rows: ReplayRows, from: number, to: number): Uint8Array {
    const needed = (to - from) * (this.#headMax + FIXED_BYTES_MAX);
    if (needed > this.#bytes.length) {
      this.#bytes = new Uint8Array(needed * 2);
      this.#view = new DataView(this.#bytes.buffer);
    }
    let at = 0;
    for (let row = from; row < to; row += 1) at = this.#row(rows, row, at);
    return this.#bytes.subarray(0, at);
  }

  #row(rows: ReplayRows, row: number, start: number): number {
    const view = this.#view;
    const head = this.#heads[rows.series[row]];
    this.#bytes.set(head, start);
    let at = start + head.length;
    view.setInt32(at, rows.tsWords[2 * row + 1]);
    view.setInt32(at + 4, rows.tsWords[2 * row]);
    view.setInt32(at + 8, rows.seqWords[2 * row + 1]);
    view.setInt32(at + 12, rows.seqWords[2 * row]);
    at += 16;
    for (const { values, validity } of rows.numbers) {
      if (validity !== null && isNullAt(validity, row)) {
        view.setInt32(at, NAN_HIGH);
        view.setInt32(at + 4, 0);
      } else view.setFloat64(at, values[row]);
      at += 8;
    }
    view.setInt8(at, rows.isBar ? SIDE_OF_BAR : rows.side(row));
    return at + 1;
  }
}
