import type { OrderedTransaction, Tick } from './tick.ts';
import { u64At } from './u64.ts';
import {
  ORDERED_HASH,
  ORDERED_INGESTION,
  ORDERED_SEQUENCE,
  PROOF_INPUT,
  PROOF_ITERATIONS,
  PROOF_OUTPUT,
  PROOF_PROOF,
  scanTickNumber,
  TICK_BATCH_HASH,
  TICK_NUMBER,
  TICK_PREVIOUS_OUTPUT,
  TICK_TIMESTAMP,
  TickWire,
  TRANSACTION_ID,
  TRANSACTION_NONCE,
  TRANSACTION_PAYLOAD,
  TRANSACTION_PUBLIC_KEY,
  TRANSACTION_SIGNATURE,
  TRANSACTION_TIMESTAMP,
} from './wire.ts';
import { WIRE_OK, wireError } from './wire-error.ts';

const wire = new TickWire();
const number = new Uint32Array(2);

/**
 * A Tick from protobuf bytes, by the rules of wire.ts; what is absent has its default. Texts are read as UTF-8 with
 * U+FFFD for what is none; tx_id stays bytes. The objects share the given bytes' memory.
 * @throws WireError with the byte offset of the first thing that is wrong when the bytes are no protobuf message
 */
export function decodeTick(bytes: Uint8Array): Tick {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const status = wire.readTick(buffer, 0, buffer.length);
  const error = status === WIRE_OK ? null : wireError();
  // The transactions that the reader has found lie before the place where it stopped.
  const transactions = Array.from({ length: wire.transactionCount }, (_, i) => readOrdered(buffer, i));
  if (error !== null) throw error;
  const { tick } = wire;
  return {
    tickNumber: u64At(tick, TICK_NUMBER),
    vdfProof: {
      input: textAt(buffer, tick, PROOF_INPUT),
      output: textAt(buffer, tick, PROOF_OUTPUT),
      proof: textAt(buffer, tick, PROOF_PROOF),
      iterations: u64At(tick, PROOF_ITERATIONS),
    },
    transactions,
    transactionBatchHash: textAt(buffer, tick, TICK_BATCH_HASH),
    timestamp: u64At(tick, TICK_TIMESTAMP),
    previousOutput: textAt(buffer, tick, TICK_PREVIOUS_OUTPUT),
  };
}

/**
 * Field 1 as a number, 0 when it is absent: tick_number of a tick, and what each request of the proto asks for.
 * @throws WireError when the bytes are no protobuf message
 */
export function decodeFirstNumber(bytes: Uint8Array): bigint {
  if (scanTickNumber(bytes, 0, bytes.length, number) !== WIRE_OK) throw wireError();
  return u64At(number, 0);
}

function readOrdered(buffer: Buffer, i: number): OrderedTransaction {
  if (wire.readTransaction(buffer, i) !== WIRE_OK) throw wireError();
  const { transaction } = wire;
  return {
    transaction: {
      txId: bytesAt(buffer, transaction, TRANSACTION_ID),
      payload: bytesAt(buffer, transaction, TRANSACTION_PAYLOAD),
      signature: bytesAt(buffer, transaction, TRANSACTION_SIGNATURE),
      publicKey: bytesAt(buffer, transaction, TRANSACTION_PUBLIC_KEY),
      nonce: u64At(transaction, TRANSACTION_NONCE),
      timestamp: u64At(transaction, TRANSACTION_TIMESTAMP),
    },
    sequenceNumber: u64At(transaction, ORDERED_SEQUENCE),
    txHash: textAt(buffer, transaction, ORDERED_HASH),
    ingestionTimestamp: u64At(transaction, ORDERED_INGESTION),
  };
}

function textAt(buffer: Buffer, slots: Uint32Array, slot: number): string {
  return buffer.toString('utf8', slots[slot], slots[slot] + slots[slot + 1]);
}

function bytesAt(buffer: Buffer, slots: Uint32Array, slot: number): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset + slots[slot], slots[slot + 1]);
}
