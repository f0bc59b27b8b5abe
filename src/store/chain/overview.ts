import type { Client } from 'pg';
import { detectEdition, serverMicros, type EditionInfo } from '../postgres/server-info.ts';
import { isoSeconds, isoTime } from '../postgres/time-sql.ts';
import { INT64_MAX } from '../../core/chain/tick.ts';
import { chainTimes } from '../chunks/times.ts';
import { readChainFloor } from '../retention/chain.ts';
import { inSnapshot } from '../postgres/transaction.ts';

/** The figures an operator asks for first; text where they exceed a double. */
export interface Overview {
  chainId: string | null;
  origin: string | null;
  position: string | null;
  completeUpTo: string | null;
  /** lowest tick that is kept, null where retention has dropped nothing */
  floor: string | null;
  /** timestamp of the newest stored tick, ISO */
  newestTimestamp: string | null;
  /** excludes those below the floor */
  gaps: { state: string; ranges: number; ticks: string }[];
  openGaps: {
    first: string;
    last: string;
    attempts: number;
    lastError: string | null;
    /** ISO */
    nextAttempt: string | null;
  }[];
  deadLetters: { status: string; reason: string; count: number }[];
  halt: { kind: string; reason: string; since: string } | null;
  leader: { holder: string; epoch: string; live: boolean; since: string } | null;
  edition: EditionInfo;
  /** the server's clock, µs since 1970 */
  nowMicros: bigint;
}

/** How many open gaps are listed individually. */
const GAPS_LISTED = 20;

/** One consistent snapshot. */
export async function readOverview(client: Client): Promise<Overview> {
  const edition = await detectEdition(client);
  const nowMicros = await serverMicros(client);
  return inSnapshot(client, async () => {
    const position = await client.query<{
      origin: string | null;
      position: string | null;
      complete_up_to: string | null;
    }>('SELECT origin, "position", complete_up_to FROM ingest_position()');
    const floor = await readChainFloor(client);
    const state = await client.query<{
      chain_id: string;
      holder: string | null;
      epoch: string;
      live: boolean;
      since: string;
      halt: string | null;
      halt_reason: string | null;
      halted_at: string | null;
    }>(
      `SELECT chain_id, holder, epoch, coalesce(lease_expires_at > clock_timestamp(), false) AS live,
         ${isoTime('holder_since')} AS since, halt, halt_reason,
         ${isoTime('halted_at')} AS halted_at FROM ingest_state`,
    );
    // in the last chunks, where there are many
    const newer = await chainTimes(client, {
      first: BigInt(position.rows[0]?.position ?? 0),
      last: INT64_MAX,
    });
    const newest = await client.query<{ newest: string | null }>(
      `SELECT ${isoTime('max("timestamp")')} AS newest FROM ticks WHERE true${newer.and('ticks')}`,
    );
    const gaps = await client.query<{ state: string; ranges: string; ticks: string }>(
      'SELECT state, count(*) AS ranges, sum(last_tick - first_tick + 1) AS ticks FROM ingest_gaps WHERE last_tick >= $1 GROUP BY state ORDER BY state',
      [(floor ?? 0n).toString()],
    );
    const open = await client.query<{
      first: string;
      last: string;
      attempts: number;
      error: string | null;
      next: string | null;
    }>(
      `SELECT first_tick AS first, last_tick AS last, attempts, last_error AS error,
         ${isoSeconds('next_attempt_at')} AS next FROM ingest_gaps
       WHERE state = 'open' ORDER BY first_tick LIMIT ${GAPS_LISTED}`,
    );
    const dead = await client.query<{ status: string; reason: string; count: string }>(
      'SELECT status, reason, count(*) AS count FROM dead_letters GROUP BY status, reason ORDER BY status, reason',
    );
    const row = position.rows[0];
    const chain = state.rows[0];
    return {
      chainId: chain?.chain_id ?? null,
      origin: row?.origin ?? null,
      position: row?.position ?? null,
      completeUpTo: row?.complete_up_to ?? null,
      floor: floor?.toString() ?? null,
      newestTimestamp: newest.rows[0]?.newest ?? null,
      gaps: gaps.rows.map((gap) => ({ ...gap, ranges: Number(gap.ranges) })),
      openGaps: open.rows.map(({ error, next, ...gap }) => ({ ...gap, lastError: error, nextAttempt: next })),
      deadLetters: dead.rows.map((deadLetter) => ({ ...deadLetter, count: Number(deadLetter.count) })),
      halt:
        chain?.halt == null
          ? null
          : { kind: chain.halt, reason: chain.halt_reason ?? '', since: chain.halted_at ?? '' },
      leader:
        chain?.holder == null
          ? null
          : { holder: chain.holder, epoch: chain.epoch, live: chain.live, since: chain.since },
      edition,
      nowMicros,
    };
  });
}

/** Exact counts of what is stored; slow on a large store. */
export async function countStored(client: Client): Promise<{
  ticks: number;
  proofs: number;
  transactions: number;
  gaps: number;
  deadLetters: number;
}> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM vdf_proofs) AS proofs,
       (SELECT count(*) FROM tick_transactions) AS transactions, (SELECT count(*) FROM ingest_gaps) AS gaps,
       (SELECT count(*) FROM dead_letters) AS dead`,
  );
  const row = rows[0] ?? {};
  return {
    ticks: Number(row['ticks']),
    proofs: Number(row['proofs']),
    transactions: Number(row['transactions']),
    gaps: Number(row['gaps']),
    deadLetters: Number(row['dead']),
  };
}

/** Which ticks the store can answer for. */
export interface Extent {
  /** lowest tick that can be requested, null before the first one */
  floor: bigint | null;
  /** end of what is recorded without a hole, gaps included; null when nothing is */
  position: bigint | null;
}

/** Works on a standby as well. */
export async function readExtent(client: Client): Promise<Extent> {
  const dropped = await readChainFloor(client);
  const { rows } = await client.query<{ origin: string | null; position: string | null }>(
    'SELECT origin, "position" FROM ingest_position()',
  );
  const { origin, position } = rows[0]; // always one row
  const first = origin === null ? null : BigInt(origin);
  return {
    floor: first !== null && dropped !== null && dropped > first ? dropped : first,
    position: position === null ? null : BigInt(position),
  };
}
