import type { Client } from 'pg';
import type { OrderedTransaction, Tick } from '../../core/chain/tick.ts';
import { chainTimes, UNBOUND, type ChainTimes } from '../chunks/times.ts';
import { wideMicrosOf } from '../postgres/time-sql.ts';

interface TickRow {
  tick_number: string;
  timestamp_us: string;
  batch_hash: string;
  previous_output: string | null;
  input: string;
  output: string;
  proof: string;
  iterations: string;
}

interface TransactionRow {
  tick_number: string;
  sequence_number: string;
  tx_hash: string;
  tx_id: Buffer;
  payload: Buffer;
  signature: Buffer;
  public_key: Buffer;
  nonce: string;
  timestamp_us: string;
  ingestion_us: string;
}

const ticksSql = (times: ChainTimes): string => `
SELECT t.tick_number, ${wideMicrosOf('t."timestamp"')} AS timestamp_us, t.batch_hash,
       coalesce(t.previous_output, (SELECT p.output FROM vdf_proofs p WHERE p.tick_number = t.tick_number - 1)) AS previous_output,
       v.input, v.output, v.proof, v.iterations
  FROM ticks t JOIN vdf_proofs v ON v.tick_number = t.tick_number
 WHERE t.tick_number = ANY ($1::bigint[]) AND v.tick_number = ANY ($1::bigint[])${times.and('ticks')}`;

const transactionsSql = (times: ChainTimes): string => `
SELECT tick_number, sequence_number, tx_hash, coalesce(tx_id_raw, convert_to(tx_id, 'UTF8')) AS tx_id,
       payload, signature, public_key, nonce, coalesce(timestamp_us, ${wideMicrosOf('"timestamp"')}) AS timestamp_us,
       ${wideMicrosOf('ingestion_timestamp')} AS ingestion_us
  FROM tick_transactions WHERE tick_number = ANY ($1::bigint[])${times.and('tick_transactions')}
 ORDER BY tick_number, sequence_number`;

/**
 * Stored ticks as the sequencer sent them, by number; those not stored are absent. For a few hundred numbers at a time.
 * It runs several statements: call it inside one snapshot when that matters.
 */
export async function readStoredTicks(
  client: Client,
  numbers: readonly bigint[],
): Promise<Map<bigint, Tick>> {
  if (numbers.length === 0) return new Map();
  const [first, last] = [
    numbers.reduce((a, b) => (b < a ? b : a)),
    numbers.reduce((a, b) => (b > a ? b : a)),
  ];
  const times = await chainTimes(client, { first, last });
  const found = await readWithin(client, numbers, times);
  if (times.isUnbound || found.size === numbers.length) return found;
  const beyond = await withProofs(
    client,
    numbers.filter((number) => !found.has(number)),
  );
  if (beyond.length > 0) {
    for (const [number, tick] of await readWithin(client, beyond, UNBOUND)) found.set(number, tick);
  }
  return found;
}

/** Those of which a proof is stored: then a tick is. */
async function withProofs(client: Client, numbers: readonly bigint[]): Promise<bigint[]> {
  const { rows } = await client.query<{ tick_number: string }>(
    'SELECT tick_number FROM vdf_proofs WHERE tick_number = ANY ($1::bigint[])',
    [numbers.map(String)],
  );
  return rows.map((row) => BigInt(row.tick_number));
}

async function readWithin(
  client: Client,
  numbers: readonly bigint[],
  times: ChainTimes,
): Promise<Map<bigint, Tick>> {
  const wanted = [numbers.map(String)];
  const ticks = await client.query<TickRow>(ticksSql(times), wanted);
  const transactions = await client.query<TransactionRow>(transactionsSql(times), wanted);
  const found = new Map(ticks.rows.map((row) => [BigInt(row.tick_number), toTick(row)]));
  for (const row of transactions.rows) {
    found.get(BigInt(row.tick_number))?.transactions.push(toTransaction(row));
  }
  return found;
}

function toTick(row: TickRow): Tick {
  return {
    tickNumber: BigInt(row.tick_number),
    vdfProof: {
      input: row.input,
      output: row.output,
      proof: row.proof,
      iterations: BigInt(row.iterations),
    },
    transactions: [],
    transactionBatchHash: row.batch_hash,
    timestamp: BigInt(row.timestamp_us),
    previousOutput: row.previous_output ?? '',
  };
}

function toTransaction(row: TransactionRow): OrderedTransaction {
  return {
    transaction: {
      txId: row.tx_id,
      payload: row.payload,
      signature: row.signature,
      publicKey: row.public_key,
      nonce: BigInt(row.nonce),
      timestamp: BigInt(row.timestamp_us),
    },
    sequenceNumber: BigInt(row.sequence_number),
    txHash: row.tx_hash,
    ingestionTimestamp: BigInt(row.ingestion_us),
  };
}
