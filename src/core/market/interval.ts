const MS_PER_UNIT = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
type Unit = keyof typeof MS_PER_UNIT;
/** largest first */
const UNITS = Object.keys(MS_PER_UNIT) as Unit[];

const FORM = /^([1-9]\d{0,11})(ms|s|m|h|d)$/;
const INTERVAL_MAX_MS = 366 * MS_PER_UNIT.d;

/** Formats a length in the largest unit that divides it: 2s, 1500ms, 1m. `ms` is a whole number above 0. */
export function intervalName(ms: number): string {
  const unit = UNITS.find((unit) => ms % MS_PER_UNIT[unit] === 0) ?? 'ms';
  return `${ms / MS_PER_UNIT[unit]}${unit}`;
}

/** Milliseconds of an interval such as 500ms, 1s, 5m, 1h or 1d; null when it is malformed or longer than 366 days. */
export function parseInterval(text: string): number | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * MS_PER_UNIT[match[2] as Unit];
  return ms <= INTERVAL_MAX_MS ? ms : null;
}
