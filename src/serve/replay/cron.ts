import { Cron } from 'croner';
import { ReplayRefused } from '../../core/replay/refusal.ts';

/** A cron expression and the zone whose clock it goes by. */
export interface CronTimes {
  cron: string;
  timezone: string;
}

const CHARS_MAX = 200;

/**
 * When it is due after a time, µs since 1970; null: never again. Cron knows whole seconds: the one Date here carries no more.
 * @throws ReplayRefused bad_field
 */
export function nextTime({ cron, timezone }: CronTimes, afterUs: bigint): bigint | null {
  if (cron.length > CHARS_MAX) refuse('cron', `has more than ${CHARS_MAX} characters`);
  try {
    Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch {
    refuse('timezone', 'must be a zone such as UTC or America/New_York');
  }
  let next: Date | null;
  try {
    const pattern = new Cron(cron, { timezone, paused: true });
    next = pattern.nextRun(new Date(Number(afterUs / 1000n)));
  } catch {
    return refuse(
      'cron',
      'must be a cron expression such as "0 18 * * 1-5" (minute, hour, day, month, weekday)',
    );
  }
  return next === null ? null : BigInt(next.getTime()) * 1000n;
}

function refuse(field: string, problem: string): never {
  throw new ReplayRefused({ kind: 'bad_field', field, problem });
}
