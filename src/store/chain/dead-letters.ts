import type { Client } from 'pg';
import { isoTime } from '../postgres/time-sql.ts';
import { inSnapshot } from '../postgres/transaction.ts';

/** A row of dead_letters; numbers as text where they exceed a double, times ISO-8601 in UTC. */
export interface DeadLetterInfo {
  id: string;
  /** the number the frame states, null when it has no readable one */
  tick: string | null;
  /** the tick before a frame without a usable number */
  afterTick: string | null;
  reason: string;
  detail: string | null;
  sqlstate: string | null;
  bytes: number;
  status: 'open' | 'resolved';
  createdAt: string;
  resolvedAt: string | null;
}

/** All columns of the table. */
export interface DeadLetterRecord extends DeadLetterInfo {
  raw: Buffer;
  rawDigest: Buffer;
  storedDigest: Buffer | null;
  epoch: string | null;
}

/** null: no restriction */
export interface DeadLetterFilter {
  status: 'open' | 'resolved' | null;
  reason: string | null;
  /** ticks, both ends included; a frame without a number is ordered right after its after_tick */
  from: bigint | null;
  to: bigint | null;
}

const COLUMNS = `dead_letter_id AS id, tick_number AS tick, after_tick AS "afterTick", reason, detail, sqlstate,
  octet_length(raw) AS bytes, status, ${isoTime('created_at')} AS "createdAt", ${isoTime('resolved_at')} AS "resolvedAt"`;

const MATCHES = `($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR reason = $2)
  AND ($3::numeric IS NULL OR coalesce(after_tick + 1::numeric, tick_number) >= $3)
  AND ($4::numeric IS NULL OR coalesce(after_tick + 1::numeric, tick_number) <= $4)`;

function parameters({ status, reason, from, to }: DeadLetterFilter): (string | null)[] {
  return [status, reason, from?.toString() ?? null, to?.toString() ?? null];
}

/** The newest first, at most `limit`, and the total count; one snapshot. */
export async function listDeadLetters(
  client: Client,
  filter: DeadLetterFilter,
  limit: number,
): Promise<{ deadLetters: DeadLetterInfo[]; total: number }> {
  return inSnapshot(client, async () => {
    const values = parameters(filter);
    const page = await client.query<DeadLetterInfo>(
      `SELECT ${COLUMNS} FROM dead_letters WHERE ${MATCHES} ORDER BY dead_letter_id DESC LIMIT $5`,
      [...values, limit],
    );
    const total = await client.query<{ count: string }>(
      `SELECT count(*) AS count FROM dead_letters WHERE ${MATCHES}`,
      values,
    );
    return { deadLetters: page.rows, total: Number(total.rows[0]?.count ?? 0) };
  });
}

/** Null when there is none. */
export async function readDeadLetter(client: Client, id: bigint): Promise<DeadLetterRecord | null> {
  const { rows } = await client.query<DeadLetterRecord>(
    `SELECT ${COLUMNS}, raw, raw_sha256 AS "rawDigest", stored_sha256 AS "storedDigest", epoch
       FROM dead_letters WHERE dead_letter_id = $1`,
    [id.toString()],
  );
  return rows[0] ?? null;
}

/** In order of arrival, which is nearly that of the chain. */
export async function findDeadLetters(client: Client, filter: DeadLetterFilter): Promise<bigint[]> {
  const { rows } = await client.query<{ id: string }>(
    `SELECT dead_letter_id AS id FROM dead_letters WHERE ${MATCHES} ORDER BY dead_letter_id`,
    parameters(filter),
  );
  return rows.map(({ id }) => BigInt(id));
}
