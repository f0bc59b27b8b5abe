import {
  ORDERED_HASH,
  ORDERED_INGESTION,
  ORDERED_SEQUENCE,
  PROOF_INPUT,
  PROOF_ITERATIONS,
  PROOF_OUTPUT,
  PROOF_PROOF,
  TICK_BATCH_HASH,
  TICK_NUMBER,
  TICK_PREVIOUS_OUTPUT,
  TICK_TIMESTAMP,
  TRANSACTION_ID,
  TRANSACTION_NONCE,
  TRANSACTION_PAYLOAD,
  TRANSACTION_PUBLIC_KEY,
  TRANSACTION_SIGNATURE,
  TRANSACTION_TIMESTAMP,
} from '../chain/wire.ts';
import type { CopyMessages } from './message.ts';
import { NUMERIC_U64_BYTES_MAX, writeNumericU64 } from './types/numeric.ts';
import type { ByteSink } from './sink.ts';
import type { SpanSource } from './source.ts';
import { PROOFS, TICKS, TRANSACTIONS } from './tables.ts';
import { isText } from './types/text.ts';
import { isTimestamptz, writeTimestamptz } from './types/timestamptz.ts';

// A row is an int16 with the number of fields, then each field as an int32 length (−1: null) and its bytes. Writers
// reserve the whole row first, then write without a check: a DataView throws if the reservation was too small.

const TICK_FIELDS = TICKS.columns.length;
const PROOF_FIELDS = PROOFS.columns.length;
const TRANSACTION_FIELDS = TRANSACTIONS.columns.length;

/** bytes of a row without its runs: the field count, a length per field, and the fixed-size values */
const TICK_FIXED_BYTES = 2 + 4 * TICK_FIELDS + 8 + 8;
const PROOF_FIXED_BYTES = 2 + 4 * PROOF_FIELDS + 8 + 8;
const TRANSACTION_FIXED_BYTES = 2 + 4 * TRANSACTION_FIELDS + 4 * 8 + 2 * NUMERIC_U64_BYTES_MAX;

/** @param linked previous_output equals the previous row's output: null is written for it */
export function writeTickRow(
  out: CopyMessages,
  source: SpanSource,
  tick: Uint32Array,
  linked: boolean,
): void {
  const sink = out.sink;
  const previousLength = linked ? 0 : tick[TICK_PREVIOUS_OUTPUT + 1];
  sink.ensure(TICK_FIXED_BYTES + tick[TICK_BATCH_HASH + 1] + previousLength);
  const view = sink.view;
  let at = sink.length;
  view.setInt16(at, TICK_FIELDS);
  at = writeInt64(view, at + 2, tick[TICK_NUMBER], tick[TICK_NUMBER + 1]);
  at = writeTimestamptz(view, at, tick[TICK_TIMESTAMP], tick[TICK_TIMESTAMP + 1]);
  at = writeRun(source, tick, TICK_BATCH_HASH, sink, at);
  at = linked ? writeNull(view, at) : writeRun(source, tick, TICK_PREVIOUS_OUTPUT, sink, at);
  out.endRow(at);
}

export function writeProofRow(out: CopyMessages, source: SpanSource, tick: Uint32Array): void {
  const sink = out.sink;
  sink.ensure(PROOF_FIXED_BYTES + tick[PROOF_INPUT + 1] + tick[PROOF_OUTPUT + 1] + tick[PROOF_PROOF + 1]);
  const view = sink.view;
  let at = sink.length;
  view.setInt16(at, PROOF_FIELDS);
  at = writeInt64(view, at + 2, tick[TICK_NUMBER], tick[TICK_NUMBER + 1]);
  at = writeRun(source, tick, PROOF_INPUT, sink, at);
  at = writeRun(source, tick, PROOF_OUTPUT, sink, at);
  at = writeRun(source, tick, PROOF_PROOF, sink, at);
  at = writeInt64(view, at, tick[PROOF_ITERATIONS], tick[PROOF_ITERATIONS + 1]);
  out.endRow(at);
}

/** Any client value is stored as it is: tx_id as text or raw, its timestamp as timestamptz or as a number. */
export function writeTransactionRow(
  out: CopyMessages,
  source: SpanSource,
  tick: Uint32Array,
  transaction: Uint32Array,
): void {
  const sink = out.sink;
  sink.ensure(
    TRANSACTION_FIXED_BYTES +
      transaction[ORDERED_HASH + 1] +
      transaction[TRANSACTION_ID + 1] +
      transaction[TRANSACTION_PAYLOAD + 1] +
      transaction[TRANSACTION_SIGNATURE + 1] +
      transaction[TRANSACTION_PUBLIC_KEY + 1],
  );
  const view = sink.view;
  const idIsText = isText(source.view, transaction[TRANSACTION_ID], transaction[TRANSACTION_ID + 1]);
  const clientHi = transaction[TRANSACTION_TIMESTAMP];
  const clientLo = transaction[TRANSACTION_TIMESTAMP + 1];
  const timeFits = isTimestamptz(clientHi, clientLo);
  let at = sink.length;
  view.setInt16(at, TRANSACTION_FIELDS);
  at = writeRun(source, transaction, ORDERED_HASH, sink, at + 2);
  at = idIsText ? writeRun(source, transaction, TRANSACTION_ID, sink, at) : writeNull(view, at);
  at = writeInt64(view, at, tick[TICK_NUMBER], tick[TICK_NUMBER + 1]);
  at = writeInt64(view, at, transaction[ORDERED_SEQUENCE], transaction[ORDERED_SEQUENCE + 1]);
  at = writeRun(source, transaction, TRANSACTION_PAYLOAD, sink, at);
  at = writeRun(source, transaction, TRANSACTION_SIGNATURE, sink, at);
  at = writeRun(source, transaction, TRANSACTION_PUBLIC_KEY, sink, at);
  at = writeNumeric(view, at, transaction[TRANSACTION_NONCE], transaction[TRANSACTION_NONCE + 1]);
  at = timeFits ? writeTimestamptz(view, at, clientHi, clientLo) : writeNull(view, at);
  at = writeTimestamptz(view, at, tick[TICK_TIMESTAMP], tick[TICK_TIMESTAMP + 1]);
  at = writeTimestamptz(view, at, transaction[ORDERED_INGESTION], transaction[ORDERED_INGESTION + 1]);
  at = idIsText ? writeNull(view, at) : writeRun(source, transaction, TRANSACTION_ID, sink, at);
  at = timeFits ? writeNull(view, at) : writeNumeric(view, at, clientHi, clientLo);
  out.endRow(at);
}

function writeNull(view: DataView, at: number): number {
  view.setInt32(at, -1);
  return at + 4;
}

function writeInt64(view: DataView, at: number, hi: number, lo: number): number {
  view.setInt32(at, 8);
  view.setInt32(at + 4, hi);
  view.setInt32(at + 8, lo);
  return at + 12;
}

function writeNumeric(view: DataView, at: number, hi: number, lo: number): number {
  const end = writeNumericU64(view, at + 4, hi, lo);
  view.setInt32(at, end - at - 4);
  return end;
}

function writeRun(source: SpanSource, slots: Uint32Array, slot: number, sink: ByteSink, at: number): number {
  const length = slots[slot + 1];
  sink.view.setInt32(at, length);
  return source.copy(slots[slot], length, sink, at + 4);
}
