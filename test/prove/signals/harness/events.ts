import type { TickEvent } from '../../../../src/core/market/event.ts';
import { acrossMidnight, arrivals, eventsOf, MIXED, type EventsSize } from '../../bars/harness/events.ts';

/** So many of a thousand come later than the watermark waits, by up to this, ms. */
const LATE = { ...MIXED, lateMsMax: 8_000 };
export interface Script {
  /** in the order of their publication */
  events: readonly TickEvent[];
  /** before the event of this index nothing comes for longer than symbols may be silent */
  pauseAt: number;
}

/** Quoted, late, doubled and disordered ticks across midnight, and a silence in the middle. */
export function scriptOf(seed: number, size: EventsSize): Script {
  const options = {
    ...LATE,
    seed: `${seed}`,
    count: size.events,
    startMicros: acrossMidnight(size),
    perSecond: size.perSecond,
  };
  const events = withoutEarlyLate([...eventsOf(arrivals(options))]).map(quoted);
  return { events, pauseAt: Math.floor(events.length / 2) };
}

/**
 * Without ticks that come too late and belong before, or right behind, the first event of their symbol: whether they are stored when
 * that event is met, and so part of what features begin with, is a matter of luck.
 */
function withoutEarlyLate(events: readonly TickEvent[]): TickEvent[] {
  const lateMicros = BigInt(LATE.allowLateMs) * 1000n;
  const seen = new Map<string, { first: bigint; last: bigint }>();
  return events.filter(({ provider, symbol, srcTs }) => {
    const key = `${provider}|${symbol}`;
    const { first, last } = seen.get(key) ?? { first: srcTs, last: srcTs };
    if (srcTs < last - lateMicros && srcTs < first + lateMicros) return false;
    seen.set(key, { first, last: srcTs > last ? srcTs : last });
    return true;
  });
}

/** With bid, ask and side as its seq and price say: an event that comes twice has the same ones. */
function quoted(event: TickEvent): TickEvent {
  const draw = Number(event.seq % 12n);
  const half = event.price * 1e-4 * (1 + draw);
  return {
    ...event,
    bid: draw === 0 ? null : event.price - half,
    ask: draw === 5 ? null : event.price + half,
    side: draw < 4 ? 1 : draw < 9 ? -1 : null,
  };
}
