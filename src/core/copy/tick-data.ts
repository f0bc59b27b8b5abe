import { EPOCH_2000_MICROS, nameBytes, putDouble, putInt64, putName } from './fields.ts';
import { CopyMessages } from './message.ts';
import { ByteSink } from './sink.ts';
import { TICK_DATA } from './tables.ts';

/** A row of tick_data. */
export interface TickDataRow {
  provider: string;
  symbol: string;
  /** µs since 1970 */
  srcTs: bigint;
  seq: bigint;
  /** finite; so are size, bid and ask */
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  /** 1: the buyer was the aggressor, -1: the seller */
  side: 1 | -1 | null;
}

const FIELDS = TICK_DATA.columns.length;
/** the field count, a length per field, and the fixed-size values */
const FIXED_BYTES = 2 + 4 * FIELDS + 8 * 6 + 2;
/** Rows as the messages of one binary COPY of TICK_DATA (CopyData …, CopyDone), ready for the socket. */
export function encodeTickData(rows: readonly TickDataRow[], sink: ByteSink = new ByteSink()): Uint8Array {
  const out = new CopyMessages();
  out.begin(sink);
  for (const row of rows) writeRow(out, row);
  out.finish();
  return sink.bytes.subarray(0, sink.length);
}

function writeRow(out: CopyMessages, row: TickDataRow): void {
  const sink = out.sink;
  const provider = nameBytes(row.provider);
  const symbol = nameBytes(row.symbol);
  sink.ensure(FIXED_BYTES + provider.length + symbol.length);
  const { view, bytes } = sink;
  let at = sink.length;
  view.setInt16(at, FIELDS);
  at = putName(view, bytes, at + 2, provider);
  at = putName(view, bytes, at, symbol);
  at = putInt64(view, at, row.srcTs - EPOCH_2000_MICROS);
  at = putInt64(view, at, row.seq);
  at = putDouble(view, at, row.price);
  at = putDouble(view, at, row.size);
  at = putDouble(view, at, row.bid);
  at = putDouble(view, at, row.ask);
  if (row.side === null) {
    view.setInt32(at, -1);
    at += 4;
  } else {
    view.setInt32(at, 2);
    view.setInt16(at + 4, row.side);
    at += 6;
  }
  out.endRow(at);
}
