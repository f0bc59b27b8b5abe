import { decoder, type Decoded } from './wire.ts';

export interface ChainTickJson {
  tick_number: string;
  timestamp: string;
  batch_hash: string;
  previous_output: string | null;
  vdf_input: string;
  vdf_output: string;
  vdf_proof: string;
  vdf_iterations: string;
}

export interface TransactionJson {
  tx_hash: string;
  tick_number: string;
  sequence_number: string;
  /** null where its bytes are no text */
  tx_id: string | null;
  tx_id_hex: string;
  payload: string;
  signature: string;
  public_key: string;
  nonce: string;
  /** as the client of the sequencer set it, µs; any u64 */
  timestamp_us: string;
  ingestion_timestamp: string;
  tick_timestamp: string;
}

/** A tick with its proof; hashes, outputs and proofs in hex. */
export type ChainTick = Decoded<ChainTickJson, 'tick_number' | 'vdf_iterations'>;
/** A transaction at its place in the chain; bytes in hex. */
export type Transaction = Decoded<
  TransactionJson,
  'tick_number' | 'sequence_number' | 'nonce' | 'timestamp_us'
>;
export type ChainTickWithTransactions = ChainTick & { transactions: Transaction[] };

export interface ChainTicksQuery {
  /** numbers in [from, to) */
  from?: bigint | number;
  to?: bigint | number;
}

export const decodeChainTick = decoder<ChainTickJson, 'tick_number' | 'vdf_iterations'>(
  'tick_number',
  'vdf_iterations',
);
export const decodeTransaction = decoder<
  TransactionJson,
  'tick_number' | 'sequence_number' | 'nonce' | 'timestamp_us'
>('tick_number', 'sequence_number', 'nonce', 'timestamp_us');

export function decodeWholeTick(item: unknown): ChainTickWithTransactions {
  const { transactions, ...tick } = item as ChainTickJson & { transactions: unknown[] };
  return { ...decodeChainTick(tick), transactions: transactions.map(decodeTransaction) };
}
