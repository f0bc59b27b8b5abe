import { ReplayRows } from '../../../src/core/replay/rows.ts';
import type { Batch } from '../../../src/core/table/batch.ts';
import type { Column, Value } from '../../../src/core/table/column.ts';
import { CopyBatches } from '../../../src/core/table/copy-batches.ts';
import { COPY_END, COPY_HEADER, copyRow } from '../table/copy-rows.ts';

const HEAD: Column[] = [
  { name: 'ts', type: 'timestamp' },
  { name: 'series', type: 'int16' },
  { name: 'seq', type: 'int64' },
];

export interface TickRow {
  ts: bigint;
  series: number;
  seq: bigint;
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: 1 | -1 | null;
}

/** Ticks as a page of them comes from the store. */
export function tickRows(rows: readonly TickRow[]): ReplayRows {
  const names = ['price', 'size', 'bid', 'ask'];
  const columns: Column[] = [
    ...HEAD,
    ...names.map((name) => ({ name, type: 'float64' as const })),
    { name: 'side', type: 'int16' },
  ];
  const values = rows.map(({ ts, series, seq, price, size, bid, ask, side }): Value[] => [
    ts,
    series,
    seq,
    price,
    size,
    bid,
    ask,
    side,
  ]);
  return new ReplayRows(batchOf(columns, values), names);
}

/** Bars: open, high, low, close, volume. */
export function barRows(rows: readonly { ts: bigint; series: number; prices: number[] }[]): ReplayRows {
  const names = ['open', 'high', 'low', 'close', 'volume'];
  const columns: Column[] = [...HEAD, ...names.map((name) => ({ name, type: 'float64' as const }))];
  const values = rows.map(({ ts, series, prices }): Value[] => [ts, series, 0n, ...prices]);
  return new ReplayRows(batchOf(columns, values), names);
}

function batchOf(columns: readonly Column[], rows: readonly (readonly Value[])[]): Batch {
  const copy = new CopyBatches(columns);
  copy.add(Buffer.concat([COPY_HEADER, ...rows.map((row) => copyRow(columns, row)), COPY_END]));
  return copy.take();
}
