import type { HistoryRow } from '../../core/signal/history-rows.ts';
import { Batch, type ColumnData } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';

export function featureColumns(features: readonly string[], labels: readonly string[]): readonly Column[] {
  return [
    { name: 'provider', type: 'text', repeats: true },
    { name: 'symbol', type: 'text', repeats: true },
    { name: 'ts', type: 'timestamp' },
    { name: 'price', type: 'float64' },
    ...[...features, ...labels].map((name): Column => ({ name, type: 'float64' })),
  ];
}

/** Rows of a symbol as the writers of files take them. What is NaN, a feature that is not warm or a label that is not known, is null. */
export function featureBatch(
  columns: readonly Column[],
  provider: string,
  symbols: readonly string[],
  symbol: string,
  rows: readonly HistoryRow[],
): Batch {
  const count = rows.length;
  const words = (all: readonly string[], word: string): ColumnData => ({
    data: { kind: 'dictionary', codes: new Int32Array(count).fill(all.indexOf(word)), words: all },
    validity: null,
    nulls: 0,
  });
  const times = BigInt64Array.from(rows, ({ tsUs }) => BigInt(tsUs));
  const features = rows[0]?.values.length ?? 0;
  const numbers = columns
    .slice(4)
    .map((_, at) => doubles(rows, (row) => (at < features ? row.values[at] : row.labels[at - features])));
  return new Batch(columns, count, [
    words([provider], provider),
    words(symbols, symbol),
    { data: { kind: 'int64', values: times }, validity: null, nulls: 0 },
    doubles(rows, ({ price }) => price),
    ...numbers,
  ]);
}

function doubles(rows: readonly HistoryRow[], valueOf: (row: HistoryRow) => number): ColumnData {
  const values = new Float64Array(rows.length);
  const validity = new Uint8Array((rows.length + 7) >> 3).fill(0xff);
  let nulls = 0;
  rows.forEach((row, at) => {
    const value = valueOf(row);
    if (Number.isNaN(value)) {
      validity[at >> 3] &= ~(1 << (at & 7));
      nulls += 1;
    } else values[at] = value;
  });
  return { data: { kind: 'float64', values }, validity: nulls === 0 ? null : validity, nulls };
}
