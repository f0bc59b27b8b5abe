import type { Client } from 'pg';
import type { ReplayStatus } from '../../core/replay/control.ts';
import type { ReplayPosition } from '../../core/replay/position.ts';
import { requestFields, type ReplayFields, type ReplayRequest } from '../../core/replay/request.ts';
import { formatMicros } from '../../core/time.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** How long a run is its holder's without being stored, by the database's clock. */
export const LEASE_MS = 5_000;
const LEASE = `interval '${LEASE_MS} milliseconds'`;

/** Open runs at once: more are refused. */
export const OPEN_RUNS_MAX = 1_000;

/** How far a run is. */
export interface ReplayState {
  /** null: nothing was emitted, or it goes on from the playhead */
  position: ReplayPosition | null;
  /** event time, µs since 1970; null: at the first tick */
  playheadUs: bigint | null;
  emitted: number;
  /** null: the digest is not known any more */
  digestState: Buffer | null;
  /** seeks that are done */
  seeksDone: number;
}

/** What operators want of a run. */
export interface ReplayOrders {
  status: ReplayStatus;
  speed: number;
  /** µs since 1970; null: never */
  seekUs: bigint | null;
  /** seeks that were asked for */
  seeks: number;
}

/** A run that was claimed. */
export interface ClaimedRun {
  runId: bigint;
  epoch: number;
  fields: ReplayFields;
  snapshot: string | null;
  orders: ReplayOrders;
  state: ReplayState;
}

/** Who holds a run, and since when. */
export interface ReplayHold {
  runId: bigint;
  epoch: number;
}

interface OrdersRow {
  status: ReplayStatus;
  speed: number;
  seek_us: string | null;
  seeks: number;
}

const ORDERS = `j.status, r.speed, ${microsOf('r.seek_to')} AS seek_us, r.seeks`;

function ordersOf({ status, speed, seek_us, seeks }: OrdersRow): ReplayOrders {
  return { status, speed, seekUs: seek_us === null ? null : BigInt(seek_us), seeks };
}

/** The metadata of a run's row: what the API shows of it, and what repairs of bars go by (start, end, repair). */
function metadataOf(request: ReplayRequest, topic: string): Record<string, unknown> {
  const { providers, symbols: _symbols, max_batch_size, repair, ...shown } = requestFields(request);
  return {
    ...shown,
    topic,
    max_batch_size,
    ...(providers !== undefined && providers.length > 1 ? { providers } : {}),
    ...(repair === true ? { repair } : {}),
  };
}

/** Who records a run. */
export interface RunOrigin {
  scheduleId: bigint | null;
  /** who is about to claim it, and has it to itself for some time; null: anybody may */
  holder: string | null;
}

/** How long a run waits for the one who recorded it for itself: programs take so long to start. */
const RESERVED = "interval '30 seconds'";

/**
 * Records a run that somebody is to claim; null when too many are open. In the caller's transaction.
 * @param topic that of the request, or of market events
 */
export async function insertRun(
  client: Client,
  request: ReplayRequest,
  topic: string,
  { scheduleId, holder }: RunOrigin,
): Promise<bigint | null> {
  const { providers, symbols, startUs, speed } = request;
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO job_runs (job_name, provider, status, symbols, min_ts, metadata)
     SELECT 'tick_replay', $1, 'pending', $2, ${timeOf('$3')}, $4
      WHERE (SELECT count(*) FROM replay_runs WHERE is_open) < ${OPEN_RUNS_MAX} RETURNING id`,
    [
      providers.length === 1 ? providers[0] : null,
      symbols,
      startUs.toString(),
      JSON.stringify(metadataOf(request, topic)),
    ],
  );
  if (rows.length === 0) return null;
  await client.query(
    `INSERT INTO replay_runs (run_id, request, speed, schedule_id, holder, expires_at)
     VALUES ($1, $2, $3, $4, $5, CASE WHEN $5::text IS NOT NULL THEN clock_timestamp() + ${RESERVED} END)`,
    [rows[0].id, JSON.stringify(requestFields(request)), speed, scheduleId?.toString() ?? null, holder],
  );
  return BigInt(rows[0].id);
}

interface ClaimRow extends OrdersRow {
  run_id: string;
  epoch: string;
  request: ReplayFields;
  snapshot: string | null;
  position: StoredPosition | null;
  playhead_us: string | null;
  emitted: string;
  digest_state: Buffer | null;
  seeks_done: number;
}

interface StoredPosition {
  ts: string;
  source: ReplayPosition['source'];
  provider: string;
  symbol: string;
  seq: string;
}

/**
 * Takes open runs that nobody holds, the oldest first: those that never ran, were resumed or given back, or whose holder was silent.
 * @param only this one alone; null: any
 */
export async function claimRuns(
  client: Client,
  holder: string,
  runsMax: number,
  only: bigint | null,
): Promise<ClaimedRun[]> {
  const { rows } = await client.query<ClaimRow>(
    `WITH free AS (
       SELECT r.run_id FROM replay_runs r JOIN job_runs j ON j.id = r.run_id
        WHERE r.is_open AND j.status IN ('pending', 'running') AND ($3::bigint IS NULL OR r.run_id = $3)
          AND (r.expires_at IS NULL OR r.expires_at < clock_timestamp() OR r.epoch = 0 AND r.holder = $1)
        ORDER BY r.run_id LIMIT $2 FOR UPDATE OF r SKIP LOCKED
     ), taken AS (
       UPDATE replay_runs r SET holder = $1, epoch = r.epoch + 1, expires_at = clock_timestamp() + ${LEASE}
         FROM free WHERE r.run_id = free.run_id RETURNING r.*
     ), started AS (
       UPDATE job_runs j SET status = 'running', heartbeat_at = clock_timestamp()
         FROM taken WHERE j.id = taken.run_id AND j.status = 'pending'
     )
     SELECT r.run_id, r.epoch, r.request, r.snapshot, r.position, ${microsOf('r.playhead')} AS playhead_us, r.emitted,
            r.digest_state, r.seeks_done, ${ORDERS}
       FROM taken r JOIN job_runs j ON j.id = r.run_id ORDER BY r.run_id`,
    [holder, runsMax, only?.toString() ?? null],
  );
  return rows.map((row) => ({
    runId: BigInt(row.run_id),
    epoch: Number(row.epoch),
    fields: row.request,
    snapshot: row.snapshot,
    // it was claimed before its status rose: whoever claims it runs it
    orders: { ...ordersOf(row), status: row.status === 'pending' ? 'running' : row.status },
    state: {
      position: positionOf(row.position),
      playheadUs: row.playhead_us === null ? null : BigInt(row.playhead_us),
      emitted: Number(row.emitted),
      digestState: row.digest_state,
      seeksDone: row.seeks_done,
    },
  }));
}

function positionOf(stored: StoredPosition | null): ReplayPosition | null {
  if (stored === null) return null;
  const { ts, seq, ...rest } = stored;
  return { ...rest, tsUs: BigInt(ts), seq: BigInt(seq) };
}

/** What the run was given at its first claim: it is kept from then on. */
export async function keepSnapshot(
  client: Client,
  { runId, epoch }: ReplayHold,
  snapshot: string,
): Promise<void> {
  await client.query(
    'UPDATE replay_runs SET snapshot = $3 WHERE run_id = $1 AND epoch = $2 AND snapshot IS NULL',
    [runId.toString(), epoch, snapshot],
  );
}

/** What is wanted of a run; null: it is another one's. */
export async function readOrders(client: Client, { runId, epoch }: ReplayHold): Promise<ReplayOrders | null> {
  const { rows } = await client.query<OrdersRow>(
    `SELECT ${ORDERS} FROM replay_runs r JOIN job_runs j ON j.id = r.run_id WHERE r.run_id = $1 AND r.epoch = $2`,
    [runId.toString(), epoch],
  );
  return rows.length === 0 ? null : ordersOf(rows[0]);
}

/** What becomes of the hold with a state that is stored. */
export type ReplayHoldEnd =
  /** it goes on */
  | { kind: 'kept' }
  /** somebody else may go on at once */
  | { kind: 'given back' }
  | { kind: 'ended'; status: 'success' | 'failed'; error: string | null; digest: string | null };

/** Stores how far a run is; null: it is another one's, and nothing was stored. A run that was cancelled stays so. */
export async function storeState(
  client: Client,
  { runId, epoch }: ReplayHold,
  { position, playheadUs, emitted, digestState, seeksDone }: ReplayState,
  end: ReplayHoldEnd,
): Promise<ReplayOrders | null> {
  const ended = end.kind === 'ended' ? end : null;
  const { rows } = await client.query<OrdersRow>(
    `WITH stored AS (
       UPDATE replay_runs r
          SET "position" = $3, playhead = ${timeOf('$4')}, emitted = $5, digest_state = $6, seeks_done = $7,
              is_open = r.is_open AND $8 <> 'ended', holder = CASE WHEN $8 = 'kept' THEN r.holder END,
              expires_at = CASE WHEN $8 = 'kept' THEN clock_timestamp() + ${LEASE} END
        WHERE r.run_id = $1 AND r.epoch = $2 RETURNING r.*
     ), counted AS (
       UPDATE job_runs j
          SET rows_written = $5, max_ts = greatest(j.max_ts, ${timeOf('$9')}), heartbeat_at = clock_timestamp(),
              status = CASE WHEN $8 = 'ended' AND j.status <> 'cancelled' THEN $10 ELSE j.status END,
              error_message = coalesce($11, j.error_message),
              completed_at = CASE WHEN $8 = 'ended' THEN coalesce(j.completed_at, clock_timestamp()) ELSE j.completed_at END,
              metadata = CASE WHEN $12::text IS NULL THEN j.metadata ELSE j.metadata || jsonb_build_object('digest', $12::text) END
         FROM stored WHERE j.id = stored.run_id RETURNING j.*
     )
     SELECT ${ORDERS} FROM stored r JOIN counted j ON j.id = r.run_id`,
    [
      runId.toString(),
      epoch,
      position === null
        ? null
        : JSON.stringify({ ...position, tsUs: undefined, ts: `${position.tsUs}`, seq: `${position.seq}` }),
      playheadUs?.toString() ?? null,
      emitted,
      digestState,
      seeksDone,
      end.kind,
      position?.tsUs.toString() ?? null,
      ended?.status ?? null,
      ended?.error ?? null,
      ended?.digest ?? null,
    ],
  );
  return rows.length === 0 ? null : ordersOf(rows[0]);
}

/** A change of a run that exists and is in a state for it; in the caller's transaction, which has locked it. */
export interface RunChange {
  status: ReplayStatus;
  speed?: number;
  seekUs?: bigint;
}

/** Locks a run; null: there is none. */
export async function lockRun(
  client: Client,
  runId: bigint,
): Promise<{ status: ReplayStatus; fields: ReplayFields } | null> {
  const { rows } = await client.query<{ status: ReplayStatus; request: ReplayFields }>(
    `SELECT j.status, r.request FROM replay_runs r JOIN job_runs j ON j.id = r.run_id WHERE r.run_id = $1 FOR UPDATE OF r`,
    [runId.toString()],
  );
  return rows.length === 0 ? null : { status: rows[0].status, fields: rows[0].request };
}

export async function changeRun(
  client: Client,
  runId: bigint,
  { status, speed, seekUs }: RunChange,
): Promise<void> {
  const isOver = status === 'cancelled';
  await client.query(
    `UPDATE replay_runs SET speed = coalesce($2, speed), seek_to = coalesce(${timeOf('$3')}, seek_to),
            seeks = seeks + CASE WHEN $3::bigint IS NULL THEN 0 ELSE 1 END, is_open = is_open AND NOT $4 WHERE run_id = $1`,
    [runId.toString(), speed ?? null, seekUs?.toString() ?? null, isOver],
  );
  await client.query(
    `UPDATE job_runs SET status = $2, completed_at = CASE WHEN $3 THEN clock_timestamp() END,
            metadata = metadata || $4 WHERE id = $1`,
    [
      runId.toString(),
      status,
      isOver,
      JSON.stringify({
        ...(speed === undefined ? {} : { speed }),
        ...(seekUs === undefined ? {} : { seek: formatMicros(seekUs) }),
      }),
    ],
  );
}

/** Topics other than the usual one that runs of so long ago wrote to. */
export async function recentTopics(client: Client, withinMs: number): Promise<string[]> {
  const { rows } = await client.query<{ topic: string }>(
    `SELECT DISTINCT r.request->>'topic' AS topic FROM replay_runs r JOIN job_runs j ON j.id = r.run_id
      WHERE r.request ? 'topic' AND (r.is_open OR j.completed_at > clock_timestamp() - $1 * interval '1 millisecond')`,
    [withinMs],
  );
  return rows.map(({ topic }) => topic);
}
