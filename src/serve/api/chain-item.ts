import { z } from 'zod';
import type { OrderedTransaction, Tick } from '../../core/chain/tick.ts';
import { formatMicros } from '../../core/time.ts';

const hex = z.string().meta({ description: 'Hex digits.' });
const u64 = z.string().regex(/^\d{1,20}$/);
const time = z.string().meta({ description: 'ISO-8601 with six decimals, UTC.' });

const transaction = z
  .object({
    sequence_number: u64,
    tx_hash: hex,
    tx_id: z
      .string()
      .nullable()
      .meta({ description: 'null where its bytes are no text: tx_id_hex has them.' }),
    tx_id_hex: hex,
    payload: hex,
    signature: hex,
    public_key: hex,
    nonce: u64,
    timestamp: time,
    ingestion_timestamp: time,
  })
  .meta({ id: 'ChainTransaction', description: 'A transaction as a tick has it' });

type TransactionItem = z.output<typeof transaction>;

/** A tick of the chain with its proof and its transactions. */
export const chainTick = z
  .object({
    tick_number: u64,
    timestamp: time,
    batch_hash: hex,
    previous_output: hex,
    vdf_proof: z.object({ input: hex, output: hex, proof: hex, iterations: u64 }),
    transactions: z.array(transaction),
  })
  .meta({ id: 'ChainTick', description: 'A tick of the chain with its proof and its transactions' });

export function chainTickJson(tick: Tick): Buffer {
  const { vdfProof } = tick;
  const item: z.output<typeof chainTick> = {
    tick_number: tick.tickNumber.toString(),
    timestamp: formatMicros(tick.timestamp),
    batch_hash: tick.transactionBatchHash,
    previous_output: tick.previousOutput,
    vdf_proof: {
      input: vdfProof.input,
      output: vdfProof.output,
      proof: vdfProof.proof,
      iterations: vdfProof.iterations.toString(),
    },
    transactions: tick.transactions.map(transactionItem),
  };
  return Buffer.from(JSON.stringify(item));
}

function transactionItem({
  transaction,
  sequenceNumber,
  txHash,
  ingestionTimestamp,
}: OrderedTransaction): TransactionItem {
  return {
    sequence_number: sequenceNumber.toString(),
    tx_hash: txHash,
    tx_id: textOf(transaction.txId),
    tx_id_hex: hexOf(transaction.txId),
    payload: hexOf(transaction.payload),
    signature: hexOf(transaction.signature),
    public_key: hexOf(transaction.publicKey),
    nonce: transaction.nonce.toString(),
    timestamp: formatMicros(transaction.timestamp),
    ingestion_timestamp: formatMicros(ingestionTimestamp),
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
