import type { Micros } from '../../../core/time.ts';

/** When an exchange is open, as the details of a contract tell it: about a week ahead, in its own time zone. */
export interface TradingHours {
  zone: Intl.DateTimeFormat;
  /** [from, to), as `YYYYMMDD:HHMM` of the zone: these sort as the times do */
  spans: readonly { from: string; to: string }[];
  /** nothing is said of times from here on */
  knownUntil: string;
}

const SPAN = /^(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})$/;
const CLOSED = /^(\d{8}):CLOSED$/;

/**
 * @param text such as `20261102:0400-20261102:2000;20261103:CLOSED`, or `20261102:0930-1130,1230-1600` of older versions
 * @param zoneId such as US/Eastern
 * @returns null when they do not say when it is open
 */
export function parseTradingHours(text: string | undefined, zoneId: string | undefined): TradingHours | null {
  const zone = zoneOf(zoneId);
  if (zone === null || text === undefined) return null;
  const spans: { from: string; to: string }[] = [];
  let knownUntil = '';
  for (const day of text.split(';').filter((part) => part !== '')) {
    const closed = CLOSED.exec(day);
    if (closed !== null) {
      if (`${closed[1]}:2400` > knownUntil) knownUntil = `${closed[1]}:2400`;
      continue;
    }
    for (const part of day.split(',')) {
      const span = SPAN.exec(/^\d{8}:/.test(part) ? part : `${day.slice(0, 9)}${part}`);
      if (span === null) return null;
      const [, date, from, endDate, to] = span;
      const one = { from: `${date}:${from}`, to: `${endDate ?? date}:${to}` };
      if (one.to <= one.from) return null;
      spans.push(one);
      if (one.to > knownUntil) knownUntil = one.to;
    }
  }
  return knownUntil === '' ? null : { zone, spans, knownUntil };
}

/** True also when nothing is known of this time. */
export function isOpen(hours: TradingHours | null, nowMicros: Micros): boolean {
  if (hours === null) return true;
  const now = localMinute(hours.zone, nowMicros);
  return now >= hours.knownUntil || hours.spans.some(({ from, to }) => from <= now && now < to);
}

/** Older versions of TWS append words: `EST (Eastern Standard Time)`. */
function zoneOf(zoneId: string | undefined): Intl.DateTimeFormat | null {
  const name = (zoneId ?? '').split(' ')[0];
  if (name === '') return null;
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    });
  } catch {
    return null;
  }
}

function localMinute(zone: Intl.DateTimeFormat, micros: Micros): string {
  const parts = new Map(zone.formatToParts(Number(micros / 1000n)).map(({ type, value }) => [type, value]));
  const text = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? '';
  return `${text('year')}${text('month')}${text('day')}:${text('hour')}${text('minute')}`;
}
