import type { Micros } from './time.ts';

/** Age from which data is dropped, ms; null: never. */
export interface RetentionAges {
  chainMs: number | null;
  tickDataMs: number | null;
  barsMs: number | null;
  signalsMs: number | null;
  mdTicksMs: number | null;
}

const DAY_MS = 86_400_000;
const DAY_MICROS = 86_400_000_000n;

/** Late bars are recomputed from tick_data up to the horizon; one more day for a clock, or a consumer, that lags. */
export const TICK_DATA_SPARE_MS = DAY_MS;
/** A late event at the end of a day re-merges the day's bar from finer ones, the first of which is a day older. */
export const BARS_SPARE_MS = 2 * DAY_MS;

/** The settings that are shorter than late events need, with their minimum. */
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

/** The UTC midnight at or before a time: whole days are dropped, as chunks are whole days. For times from 1970 on. */
export function dayOf(micros: Micros): Micros {
  return micros - (micros % DAY_MICROS);
}

/** The midnight after the day of a time. */
export function nextDay(micros: Micros): Micros {
  return dayOf(micros) + DAY_MICROS;
}
