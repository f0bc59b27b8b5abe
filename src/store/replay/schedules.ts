import type { Client } from 'pg';
import type { ReplayFields, ReplayRequest } from '../../core/replay/request.ts';
import { isoTime, microsOf, timeOf } from '../postgres/time-sql.ts';
import { insertRun } from './runs.ts';

/** What a schedule starts: a request, whose range may end when it is due. */
export type ScheduleFields = ReplayFields & {
  /** a duration such as 24h: the range is that long and ends when it is due; in place of start and end */
  last?: string | undefined;
};

/** A schedule as the API shows it. */
export interface ScheduleView {
  id: number;
  name: string;
  cron: string;
  timezone: string;
  enabled: boolean;
  request: Record<string, unknown>;
  /** null: never again */
  next_at: string | null;
  last_at: string | null;
  last_run_id: number | null;
  created_at: string;
}

const VIEW = `id::float8 AS id, name, cron, timezone, is_enabled AS enabled, request, ${isoTime('next_at')} AS next_at,
  ${isoTime('last_at')} AS last_at, last_run_id::float8 AS last_run_id, ${isoTime('created_at')} AS created_at`;

export interface NewSchedule {
  name: string;
  cron: string;
  timezone: string;
  fields: ScheduleFields;
  nextUs: bigint | null;
}

/** Null: there is one of this name. */
export async function insertSchedule(
  client: Client,
  { name, cron, timezone, fields, nextUs }: NewSchedule,
): Promise<ScheduleView | null> {
  const { rows } = await client.query<ScheduleView>(
    `INSERT INTO replay_schedules (name, cron, timezone, request, next_at) VALUES ($1, $2, $3, $4, ${timeOf('$5')})
     ON CONFLICT (name) DO NOTHING RETURNING ${VIEW}`,
    [name, cron, timezone, JSON.stringify(fields), nextUs?.toString() ?? null],
  );
  return rows[0] ?? null;
}

export async function viewSchedules(client: Client): Promise<ScheduleView[]> {
  return (await client.query<ScheduleView>(`SELECT ${VIEW} FROM replay_schedules ORDER BY id`)).rows;
}

/** Null: there is none. */
export async function viewSchedule(client: Client, name: string): Promise<ScheduleView | null> {
  const { rows } = await client.query<ScheduleView>(`SELECT ${VIEW} FROM replay_schedules WHERE name = $1`, [
    name,
  ]);
  return rows[0] ?? null;
}

/** False: there is none. */
export async function deleteSchedule(client: Client, name: string): Promise<boolean> {
  return (await client.query('DELETE FROM replay_schedules WHERE name = $1', [name])).rowCount === 1;
}

/** @param nextUs when it is due next; false: there is no such schedule */
export async function enableSchedule(
  client: Client,
  name: string,
  isEnabled: boolean,
  nextUs: bigint | null,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE replay_schedules SET is_enabled = $2, next_at = ${timeOf('$3')} WHERE name = $1`,
    [name, isEnabled, nextUs?.toString() ?? null],
  );
  return rowCount === 1;
}

export interface DueSchedule {
  id: bigint;
  name: string;
  cron: string;
  timezone: string;
  fields: ScheduleFields;
  /** when it was due, µs since 1970 */
  dueUs: bigint;
  nowUs: bigint;
}

/** What comes of a schedule that is due. */
export interface Firing {
  /** null: it starts nothing this time */
  request: ReplayRequest | null;
  topic: string;
  nextUs: bigint | null;
}

/** Schedules of one round: the others come in the next one. */
const DUE_MAX = 50;

/**
 * Starts the runs of the schedules that are due, in the caller's transaction: whoever comes at the same time finds them locked, and
 * later not due. One that was due several times while nobody looked starts one run.
 */
export async function fireDue(
  client: Client,
  fire: (due: DueSchedule) => Firing,
): Promise<{ name: string; runId: bigint | null }[]> {
  const { rows } = await client.query<{
    id: string;
    name: string;
    cron: string;
    timezone: string;
    request: ScheduleFields;
    due_us: string;
    now_us: string;
  }>(
    `SELECT id, name, cron, timezone, request, ${microsOf('next_at')} AS due_us, ${microsOf('clock_timestamp()')} AS now_us
       FROM replay_schedules WHERE is_enabled AND next_at <= clock_timestamp()
      ORDER BY next_at LIMIT ${DUE_MAX} FOR UPDATE SKIP LOCKED`,
  );
  const fired = [];
  for (const { id, request: fields, due_us, now_us, ...row } of rows) {
    const due = { ...row, id: BigInt(id), fields, dueUs: BigInt(due_us), nowUs: BigInt(now_us) };
    const { request, topic, nextUs } = fire(due);
    const runId =
      request === null ? null : await insertRun(client, request, topic, { scheduleId: due.id, holder: null });
    await client.query(
      `UPDATE replay_schedules SET last_at = next_at, next_at = ${timeOf('$2')}, last_run_id = coalesce($3, last_run_id)
        WHERE id = $1`,
      [id, nextUs?.toString() ?? null, runId?.toString() ?? null],
    );
    fired.push({ name: row.name, runId });
  }
  return fired;
}
