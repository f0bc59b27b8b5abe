import { metadataJson, type Signal } from '../signal/signal.ts';
import { EPOCH_2000_MICROS, nameBytes, putDouble, putInt64, putName } from './fields.ts';
import { CopyMessages } from './message.ts';
import { ByteSink } from './sink.ts';
import { SIGNALS } from './tables.ts';

const FIELDS = SIGNALS.columns.length;
/** the field count, a length per field, the values of fixed size and the version of jsonb */
const FIXED_BYTES = 2 + 4 * FIELDS + 8 * 4 + 1;
const JSONB_VERSION = 1;
const UTF8 = new TextEncoder();
/** of one UTF-16 unit in UTF-8, at most */
const UTF8_BYTES_MAX = 3;

/** Rows as the messages of one binary COPY of SIGNALS (CopyData …, CopyDone), ready for the socket. */
export function encodeSignals(signals: readonly Signal[], sink: ByteSink = new ByteSink()): Uint8Array {
  const out = new CopyMessages();
  out.begin(sink);
  for (const signal of signals) writeRow(out, signal);
  out.finish();
  return sink.bytes.subarray(0, sink.length);
}

function writeRow(out: CopyMessages, signal: Signal): void {
  const { sink } = out;
  const provider = nameBytes(signal.provider);
  const symbol = nameBytes(signal.symbol);
  const name = nameBytes(signal.name);
  const metadata = metadataJson(signal);
  sink.ensure(FIXED_BYTES + provider.length + symbol.length + name.length + UTF8_BYTES_MAX * metadata.length);
  const { view, bytes } = sink;
  let at = sink.length;
  view.setInt16(at, FIELDS);
  at = putName(view, bytes, at + 2, provider);
  at = putName(view, bytes, at, symbol);
  at = putInt64(view, at, BigInt(signal.tsUs) - EPOCH_2000_MICROS);
  at = putName(view, bytes, at, name);
  at = putDouble(view, at, signal.value);
  at = putDouble(view, at, signal.score);
  bytes[at + 4] = JSONB_VERSION;
  const { written } = UTF8.encodeInto(metadata, bytes.subarray(at + 5));
  view.setInt32(at, written + 1);
  at += 5 + written;
  at = putInt64(view, at, signal.runId);
  out.endRow(at);
}
