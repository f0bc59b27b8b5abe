import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import type { Random } from '../../../support/random.ts';

const SYMBOLS = 20;
export const START_US = 1_760_000_000_000_000;

/** Quoted trades of 20 symbols, so far apart. */
export function steadyTicks(random: Random, count: number, apartUs: number, startUs = START_US): TickEvent[] {
  const prices = Array.from({ length: SYMBOLS }, () => 100);
  return Array.from({ length: count }, (_, at) => {
    const place = at % SYMBOLS;
    prices[place] *= 1 + random.whole(-100, 100) * 1e-6;
    const price = Math.round(prices[place] * 1e4) / 1e4;
    const event: Omit<TickEvent, 'eventId'> = {
      kind: 'tick',
      provider: 'speed',
      symbol: `S${place}`,
      srcTs: BigInt(startUs + at * apartUs),
      ingestTs: null,
      seq: BigInt(at),
      origin: 'live',
      replayRunId: null,
      price,
      size: random.whole(1, 500),
      bid: price - 0.01,
      ask: price + 0.01,
      side: at % 2 === 0 ? 1 : -1,
    };
    return {
      ...event,
      eventId: eventIdOf(event.provider, event.symbol, formatMicros(event.srcTs), event.seq, null),
    };
  });
}
