import { createHash } from 'node:crypto';
import { test } from 'tap';
import { decodeEvent } from '../../../../../src/core/market/codec/decode.ts';
import { encodeEvent } from '../../../../../src/core/market/codec/encode.ts';
import type { TickEvent } from '../../../../../src/core/market/event.ts';
import { SyntheticTicks, type SyntheticOptions } from '../../../../../src/core/market/synthetic/synthetic.ts';

const OPTIONS: SyntheticOptions = {
  seed: '7',
  provider: 'synthetic',
  symbols: ['SPY', 'AAPL', 'MSFT'],
  tickRate: 1,
  priceVolatility: 0.02,
  spreadBps: 2,
  priceStep: { step: 1, decimals: 2 },
  startMicros: 1_755_945_303_178_360n,
};
const take = (count: number, change: Partial<SyntheticOptions> = {}): TickEvent[] => {
  const ticks = new SyntheticTicks({ ...OPTIONS, ...change });
  return Array.from({ length: count }, () => ticks.next());
};
const mid = ({ bid, ask }: TickEvent): number => ((bid ?? 0) + (ask ?? 0)) / 2;
const digest = (events: readonly TickEvent[]): string => {
  const hash = createHash('sha256');
  for (const event of events) hash.update(encodeEvent(event, 'json'));
  return hash.digest('hex');
};

void test('the same seed gives the same events, byte for byte, here and on every machine', (t) => {
  t.equal(digest(take(10_000)), digest(take(10_000)));
  t.equal(digest(take(10_000)), 'dcb81b8ede5a18e3f631ef6f9051e0fc994b90b62cc25dea22826d5e7edee2dd');
  t.not(digest(take(100)), digest(take(100, { seed: '8' })));
  t.end();
});

void test('a prefix does not depend on how many follow', (t) => {
  t.strictSame(take(500).slice(0, 123), take(123));
  t.end();
});

void test('every event is good: ids once, times that never fall, clean decimals, bid below ask', (t) => {
  // so fast that several trades fall into one µs
  const events = take(20_000, { tickRate: 1e6 });
  t.equal(new Set(events.map(({ eventId }) => eventId)).size, events.length);
  let shared = 0;
  events.forEach((event, at) => {
    const { price, bid, ask, srcTs } = event;
    const previous = events[at - 1]?.srcTs ?? 0n;
    if (srcTs < previous) t.fail('time falls');
    if (srcTs === previous) shared += 1;
    if (bid === null || ask === null || !(bid > 0 && bid < ask)) t.fail(`bid ${bid} and ask ${ask}`);
    if (price !== (event.side === 1 ? ask : bid)) t.fail('a price that is neither bid nor ask');
    if (String(price).length > 7) t.fail(`price ${price} is no clean decimal`);
  });
  t.ok(shared > 1000, `${shared} share the time of the one before`);
  for (const event of events.slice(0, 200)) {
    t.strictSame(decodeEvent(encodeEvent(event, 'json'), 'json'), event);
  }
  t.end();
});

void test('rate, volatility and symbols are what was asked for', (t) => {
  const events = take(200_000, {
    tickRate: 100,
    symbols: ['SPY', 'AAPL'],
    startMicros: 1_700_000_000_000_000n,
  });
  const seconds = Number(events.at(-1)!.srcTs - events[0].srcTs) / 1e6;
  t.ok(Math.abs(events.length / seconds / 200 - 1) < 0.02, `${events.length / seconds} a second`);
  const spy = events.filter(({ symbol }) => symbol === 'SPY');
  t.ok(Math.abs(spy.length / events.length - 0.5) < 0.01);
  t.ok(Math.abs(spy.filter(({ side }) => side === 1).length / spy.length - 0.5) < 0.01);

  // a year of a tick a minute on average, in fine steps: the standard deviation of a day's return
  const slow = take(365 * 1440, {
    symbols: ['SPY'],
    tickRate: 1 / 60,
    priceStep: { step: 1, decimals: 6 },
    spreadBps: 0,
    startMicros: 1_700_000_000_000_000n,
  });
  const logReturns = slow.slice(1).map((event, at) => Math.log(mid(event) / mid(slow[at])));
  const days = Number(slow.at(-1)!.srcTs - slow[0].srcTs) / 86_400e6;
  const daily = Math.sqrt(logReturns.reduce((sum, value) => sum + value * value, 0) / days);
  t.ok(Math.abs(daily / 0.02 - 1) < 0.05, `${daily} a day`);
  t.end();
});

void test('a step of 0.05', (t) => {
  const events = take(1000, { priceStep: { step: 5, decimals: 2 } });
  for (const { price } of events) if (Math.round(price * 100) % 5 !== 0) t.fail(`${price}`);
  t.end();
});

void test('options that cannot be used are refused in words', (t) => {
  for (const change of [
    { symbols: [] },
    { symbols: ['SPY', 'SPY'] },
    { symbols: ['spy'] },
    { symbols: ['A|B'] },
    { provider: '' },
    { tickRate: 0 },
    { tickRate: NaN },
    { priceVolatility: -1 },
    { spreadBps: 10_000 },
    { priceStep: { step: 0, decimals: 2 } },
    { priceStep: { step: 1, decimals: 40 } },
    { startMicros: 0n },
  ]) {
    t.throws(
      () => take(0, change),
      { name: 'RangeError' },
      JSON.stringify(change, (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
    );
  }
  t.throws(() => take(2000, { tickRate: 1e-6, startMicros: 4_102_444_799_000_000n }), /2099/);
  t.end();
});
