import { parseDuration } from '../../core/duration.ts';
import { ReplayRefused } from '../../core/replay/refusal.ts';
import { readRequest, type ReplayRequest } from '../../core/replay/request.ts';
import { formatMicros } from '../../core/time.ts';
import type { DueSchedule, Firing, ScheduleFields } from '../../store/replay/schedules.ts';
import { nextTime } from './cron.ts';

const LAST_MS_MAX = 366 * 24 * 3_600_000;

/**
 * The run that a schedule starts when it is due: with `last`, of the time of that length before it.
 * @throws ReplayRefused bad_field
 */
export function requestAt({ last, ...fields }: ScheduleFields, dueUs: bigint): ReplayRequest {
  if (last === undefined) return readRequest(fields);
  if (fields.start !== undefined || fields.end !== undefined)
    throw new ReplayRefused({
      kind: 'bad_field',
      field: 'last',
      problem: 'is given together with start or end',
    });
  const start = dueUs - BigInt(Math.round(lastMs(last) * 1000));
  return readRequest({ ...fields, start: formatMicros(start), end: formatMicros(dueUs) });
}

function lastMs(text: string): number {
  let ms: number;
  try {
    ms = parseDuration(text);
  } catch {
    ms = NaN;
  }
  if (ms >= 1 && ms <= LAST_MS_MAX) return ms;
  throw new ReplayRefused({
    kind: 'bad_field',
    field: 'last',
    problem: 'must be a duration such as 24h or 30m, of 366 days at most',
  });
}

/** What comes of a schedule that is due. One that no version would take any more starts nothing. */
export function firing({ cron, timezone, fields, dueUs, nowUs }: DueSchedule, topic: string): Firing {
  try {
    // of several times that passed unseen the last one counts
    const request = requestAt(fields, lastDue({ cron, timezone, dueUs, nowUs }));
    return { request, topic: request.topic ?? topic, nextUs: nextTime({ cron, timezone }, nowUs) };
  } catch (error) {
    if (!(error instanceof ReplayRefused)) throw error;
    return { request: null, topic, nextUs: null };
  }
}

/** More times than these were not missed, as far as anybody cares: then the first one counts. */
const MISSED_MAX = 10_000;

function lastDue({
  cron,
  timezone,
  dueUs,
  nowUs,
}: Pick<DueSchedule, 'cron' | 'timezone' | 'dueUs' | 'nowUs'>): bigint {
  let due = dueUs;
  for (let times = 0; times < MISSED_MAX; times += 1) {
    const next = nextTime({ cron, timezone }, due);
    if (next === null || next > nowUs) return due;
    due = next;
  }
  return due;
}
