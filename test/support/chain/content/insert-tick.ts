import type { Client } from 'pg';
import type { ExpectedTick } from './expected.ts';

const TIMESTAMP = (micros: bigint): string =>
  `'epoch'::timestamptz + ${micros / 1_000_000n} * interval '1 s' + ${micros % 1_000_000n} * interval '1 us'`;

/** As an operator would by hand: the rows of a tick of a chain that is not hostile, and nothing in the ledger. */
export async function insertTick(client: Client, tick: ExpectedTick): Promise<void> {
  const { tickNumber, timestamp, batchHash, previousOutput, input, output, proof, iterations } = tick;
  await client.query('BEGIN');
  await client.query(`INSERT INTO ticks VALUES ($1, ${TIMESTAMP(timestamp)}, $2, $3)`, [
    `${tickNumber}`,
    batchHash,
    previousOutput,
  ]);
  await client.query('INSERT INTO vdf_proofs VALUES ($1, $2, $3, $4, $5)', [
    `${tickNumber}`,
    input,
    output,
    proof,
    `${iterations}`,
  ]);
  for (const one of tick.transactions) {
    await client.query(
      `INSERT INTO tick_transactions VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ${TIMESTAMP(one.timestamp)},
         ${TIMESTAMP(timestamp)}, ${TIMESTAMP(one.ingestionTimestamp)}, NULL, NULL)`,
      [
        one.txHash,
        one.txId.toString('utf8'),
        `${tickNumber}`,
        `${one.sequenceNumber}`,
        one.payload,
        one.signature,
        one.publicKey,
        `${one.nonce}`,
      ],
    );
  }
  await client.query('COMMIT');
}
