import type { PartitionKey, PartitionOf } from '../../core/export/layout.ts';
import type { ExportRequest } from '../../core/export/request.ts';
import { floorDivide } from '../../core/time.ts';
import type { Slice } from '../../store/export/rows.ts';
import type { SnapshotReader } from '../../store/export/snapshot-reader.ts';

const DAY_US = 86_400_000_000n;

/** The UTC days of a slice that have rows, one after the other: a statement then sorts or merges no more than a day. */
export async function* daysOf(
  reader: SnapshotReader,
  request: ExportRequest,
  all: Slice,
): AsyncGenerator<Slice, void, undefined> {
  for (let from = all.from; from < all.to;) {
    const next = await reader.time(request, { ...all, from }, 'first');
    if (next === null) return;
    const dayEnd = (floorDivide(next, DAY_US) + 1n) * DAY_US;
    const to = dayEnd < all.to ? dayEnd : all.to;
    yield { ...all, from: next, to };
    from = to;
  }
}

/** A file of a partitioned export: some days of all symbols or of one. It may have no rows. */
export interface PartitionSlices {
  of: PartitionOf;
  slices: AsyncIterable<Slice>;
}

export async function* partitionsOf(
  reader: SnapshotReader,
  request: ExportRequest,
  all: Slice,
  by: readonly PartitionKey[],
): AsyncGenerator<PartitionSlices, void, undefined> {
  const symbols = by.includes('symbol') ? (all.symbols ?? []) : [null];
  if (!by.includes('day')) {
    for (const symbol of symbols)
      yield { of: { day: null, symbol }, slices: daysOf(reader, request, only(all, symbol)) };
    return;
  }
  for await (const slice of daysOf(reader, request, all)) {
    const day = floorDivide(slice.from, DAY_US) * DAY_US;
    for (const symbol of symbols) yield { of: { day, symbol }, slices: alone(only(slice, symbol)) };
  }
}

// eslint-disable-next-line require-await -- as the others come
async function* alone(slice: Slice): AsyncGenerator<Slice, void, undefined> {
  yield slice;
}

function only(slice: Slice, symbol: string | null): Slice {
  return symbol === null ? slice : { ...slice, symbols: [symbol] };
}
