import { createHash } from 'node:crypto';
import { encodeTick } from './encode.ts';
import type { OrderedTransaction, Tick } from './tick.ts';

/**
 * Digest of everything that a tick says, 32 bytes: sha256 over its canonical protobuf bytes with the transactions in
 * the order of their sequence numbers. Two ticks are the same exactly when their digests are; how a frame was encoded,
 * unknown fields and the order of its fields do not matter.
 */
export function tickDigest(tick: Tick): Buffer {
  return createHash('sha256')
    .update(encodeTick({ ...tick, transactions: inSequence(tick) }))
    .digest();
}

/** Two ticks of one number: by their digests, and the fields in which they differ; none when they are equal. */
export interface TickComparison {
  isEqual: boolean;
  received: Buffer;
  stored: Buffer;
  fields: string[];
}

export function compareTicks(received: Tick, stored: Tick): TickComparison {
  const digests = { received: tickDigest(received), stored: tickDigest(stored) };
  const isEqual = digests.received.equals(digests.stored);
  return { isEqual, ...digests, fields: isEqual ? [] : differingFields(stored, received) };
}

/** Names of the fields in which two ticks differ, those of transactions as `transactions[1].payload`. */
export function differingFields(ours: Tick, theirs: Tick): string[] {
  const names: string[] = [];
  const compare = (name: string, a: unknown, b: unknown): void => {
    if (!same(a, b)) names.push(name);
  };
  compare('tick_number', ours.tickNumber, theirs.tickNumber);
  compare('timestamp', ours.timestamp, theirs.timestamp);
  compare('transaction_batch_hash', ours.transactionBatchHash, theirs.transactionBatchHash);
  compare('previous_output', ours.previousOutput, theirs.previousOutput);
  for (const field of ['input', 'output', 'proof', 'iterations'] as const) {
    compare(`vdf_proof.${field}`, ours.vdfProof[field], theirs.vdfProof[field]);
  }
  const [a, b] = [inSequence(ours), inSequence(theirs)];
  compare('transactions', a.length, b.length);
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    names.push(...differingTransactionFields(at, a[at], b[at]));
  }
  return names;
}

/** The first names of fields, and how many there are beyond. */
export function fieldsText(fields: readonly string[], namedMax: number): string {
  const more = fields.length > namedMax ? ` and ${fields.length - namedMax} more` : '';
  return `${fields.slice(0, namedMax).join(', ')}${more}`;
}

function differingTransactionFields(
  at: number,
  ours: OrderedTransaction,
  theirs: OrderedTransaction,
): string[] {
  const pairs: [string, unknown, unknown][] = [
    ['sequence_number', ours.sequenceNumber, theirs.sequenceNumber],
    ['tx_hash', ours.txHash, theirs.txHash],
    ['ingestion_timestamp', ours.ingestionTimestamp, theirs.ingestionTimestamp],
    ['tx_id', ours.transaction.txId, theirs.transaction.txId],
    ['payload', ours.transaction.payload, theirs.transaction.payload],
    ['signature', ours.transaction.signature, theirs.transaction.signature],
    ['public_key', ours.transaction.publicKey, theirs.transaction.publicKey],
    ['nonce', ours.transaction.nonce, theirs.transaction.nonce],
    ['timestamp', ours.transaction.timestamp, theirs.transaction.timestamp],
  ];
  return pairs.filter(([, a, b]) => !same(a, b)).map(([name]) => `transactions[${at}].${name}`);
}

function same(a: unknown, b: unknown): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) === 0 : a === b;
}

function inSequence({ transactions }: Tick): OrderedTransaction[] {
  return transactions.toSorted((a, b) =>
    a.sequenceNumber < b.sequenceNumber ? -1 : a.sequenceNumber > b.sequenceNumber ? 1 : 0,
  );
}
