import type { Micros } from './time.ts';

/** How old what is dropped must be, ms; null: kept for ever. */
export interface RetentionAges {
  chainMs: number | null;
  tickDataMs: number | null;
  barsMs: number | null;
}

const DAY_MS = 86_400_000;
const DAY_MICROS = 86_400_000_000n;

/** Late bars are computed again from tick_data up to the horizon; a day more for a clock, or a consumer, that is behind. */
export const TICK_DATA_SPARE_MS = DAY_MS;
/** A day's bar is merged again from finer ones when its last event is late: its first one is a day older. */
export const BARS_SPARE_MS = 2 * DAY_MS;

/** The settings whose age is less than what late events need, with the least that they may be. */
export function tooShort(
  { tickDataMs, barsMs }: RetentionAges,
  reviseHorizonMs: number,
): { key: 'retentionTickDataMs' | 'retentionBarsMs'; leastMs: number }[] {
  const rules = [
    { key: 'retentionTickDataMs', ageMs: tickDataMs, leastMs: reviseHorizonMs + TICK_DATA_SPARE_MS },
    { key: 'retentionBarsMs', ageMs: barsMs, leastMs: reviseHorizonMs + BARS_SPARE_MS },
  ] as const;
  return rules
    .filter(({ ageMs, leastMs }) => ageMs !== null && ageMs < leastMs)
    .map(({ key, leastMs }) => ({ key, leastMs }));
}

/** The midnight (UTC) at or before: whole days are dropped, as chunks are whole days. For times from 1970 on. */
export function dayOf(micros: Micros): Micros {
  return micros - (micros % DAY_MICROS);
}

/** The midnight after the day of a time. */
export function nextDay(micros: Micros): Micros {
  return dayOf(micros) + DAY_MICROS;
}
