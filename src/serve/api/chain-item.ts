import { z } from 'zod';
import type { OrderedTransaction, Tick } from '../../core/chain/tick.ts';
import { formatMicros } from '../../core/time.ts';
import { CHAIN_TICK_COLUMNS, TRANSACTION_COLUMNS } from '../../store/queries/chain.ts';
import { itemOf } from './items.ts';

/** A tick of the chain without its transactions: a row of a list. */
export const chainTickRow = itemOf(CHAIN_TICK_COLUMNS, {
  id: 'ChainTickRow',
  description: 'A tick of the chain with its proof, without its transactions',
  nullable: ['previous_output'],
});

/** A transaction, and the tick that it is in. */
export const chainTransaction = itemOf(TRANSACTION_COLUMNS, {
  id: 'ChainTransaction',
  description:
    'A transaction, and the tick that it is in; the bytes of tx_id are in tx_id_hex where they are no text',
  nullable: ['tx_id'],
});

/** A tick of the chain with its proof and its transactions. */
export const chainTick = z
  .object({ ...chainTickRow.shape, transactions: z.array(chainTransaction) })
  .meta({ id: 'ChainTick', description: 'A tick of the chain with its proof and its transactions' });

/** The same members as the rows of lists have. */
export function chainTickJson(tick: Tick): Buffer {
  const { vdfProof } = tick;
  const item = {
    tick_number: tick.tickNumber.toString(),
    timestamp: formatMicros(tick.timestamp),
    batch_hash: tick.transactionBatchHash,
    previous_output: tick.previousOutput,
    vdf_input: vdfProof.input,
    vdf_output: vdfProof.output,
    vdf_proof: vdfProof.proof,
    vdf_iterations: vdfProof.iterations.toString(),
    transactions: tick.transactions.map((ordered) => transactionItem(tick, ordered)),
  };
  return Buffer.from(JSON.stringify(item));
}

function transactionItem(
  { tickNumber, timestamp }: Tick,
  { transaction, sequenceNumber, txHash, ingestionTimestamp }: OrderedTransaction,
): Record<string, string | null> {
  return {
    tx_hash: txHash,
    tick_number: tickNumber.toString(),
    sequence_number: sequenceNumber.toString(),
    tx_id: textOf(transaction.txId),
    tx_id_hex: hexOf(transaction.txId),
    payload: hexOf(transaction.payload),
    signature: hexOf(transaction.signature),
    public_key: hexOf(transaction.publicKey),
    nonce: transaction.nonce.toString(),
    timestamp_us: transaction.timestamp.toString(),
    ingestion_timestamp: formatMicros(ingestionTimestamp),
    tick_timestamp: formatMicros(timestamp),
  };
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Null where the bytes are no UTF-8, or hold NUL, as the table has it. */
function textOf(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return STRICT.decode(bytes);
  } catch {
    return null;
  }
}
