import { isNullAt, type Batch } from '../table/batch.ts';

interface Numbers {
  values: Float64Array;
  validity: Uint8Array | null;
}

/** Little-endian machines only, as Arrow and COPY's reader need them too. */
function wordsOf(values: BigInt64Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length * 2);
}

const TWO_32 = 2 ** 32;

/** A page of rows, column by column. */
export class ReplayRows {
  readonly rows: number;
  readonly isBar: boolean;
  /** number of the provider and symbol of each row */
  readonly series: Int16Array;
  readonly ts: BigInt64Array;
  readonly seq: BigInt64Array;
  readonly tsWords: Int32Array;
  readonly seqWords: Int32Array;
  /** of a tick: price, size, bid, ask; of a bar: open, high, low, close, volume */
  readonly numbers: readonly Numbers[];
  readonly #sides: { values: Int16Array; validity: Uint8Array | null } | null;

  constructor(batch: Batch, names: readonly string[]) {
    this.rows = batch.rows;
    this.series = valuesOf(batch, 'series', 'int16').values as Int16Array;
    this.ts = valuesOf(batch, 'ts', 'int64').values as BigInt64Array;
    this.seq = valuesOf(batch, 'seq', 'int64').values as BigInt64Array;
    this.tsWords = wordsOf(this.ts);
    this.seqWords = wordsOf(this.seq);
    this.numbers = names.map((name) => valuesOf(batch, name, 'float64') as Numbers);
    this.isBar = names.length === 5;
    this.#sides = this.isBar
      ? null
      : (valuesOf(batch, 'side', 'int16') as { values: Int16Array; validity: Uint8Array | null });
  }

  /** µs since 1970 as a double, exact until the year 2255. */
  tsUs(row: number): number {
    return this.tsWords[2 * row + 1] * TWO_32 + (this.tsWords[2 * row] >>> 0);
  }

  /** 1 buy, −1 sell, 0 unknown */
  side(row: number): number {
    const sides = this.#sides;
    if (sides === null || (sides.validity !== null && isNullAt(sides.validity, row))) return 0;
    return sides.values[row];
  }

  /** Null where it is. */
  number(column: number, row: number): number | null {
    const { values, validity } = this.numbers[column];
    return validity !== null && isNullAt(validity, row) ? null : values[row];
  }
}

function valuesOf(
  batch: Batch,
  name: string,
  kind: 'int16' | 'int64' | 'float64',
): { values: Int16Array | BigInt64Array | Float64Array; validity: Uint8Array | null } {
  const { data, validity } = batch.data[batch.indexOf(name)];
  if (data.kind !== kind) throw new RangeError(`${name} is ${data.kind}, not ${kind}`);
  return { values: data.values, validity };
}
