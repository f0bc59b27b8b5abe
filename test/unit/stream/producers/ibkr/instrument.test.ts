import { test } from 'tap';
import type { TickEvent } from '../../../../../src/core/market/event.ts';
import { usStock, type SecType } from '../../../../../src/stream/producers/ibkr/contract.ts';
import { Instrument } from '../../../../../src/stream/producers/ibkr/instrument.ts';
import type { TwsTrade } from '../../../../../src/stream/producers/ibkr/values.ts';

const NOW = 1_762_180_200_123_456n;
const trade = (price: number | undefined, size: number | null = 100): TwsTrade => ({
  micros: 1_762_180_200_000_000n,
  price,
  size,
});
const of = (secType: SecType): Instrument =>
  new Instrument('ibkr', { name: 'X', symbol: 'X', secType, exchange: 'E' });
const quote = (instrument: Instrument, bid: number | undefined, ask: number | undefined): void => {
  instrument.quote({ micros: null, bid: { price: bid, size: 1 }, ask: { price: ask, size: 1 } }, NOW);
};

void test('a trade carries the quote before it, and the side that the quote tells', (t) => {
  const spy = new Instrument('ibkr', usStock('SPY'));
  t.match(spy.trade(trade(425), NOW), { price: 425, size: 100, bid: null, ask: null, side: null });
  quote(spy, 424.9, 425.1);
  t.match(spy.trade(trade(425), NOW), { bid: 424.9, ask: 425.1, side: null });
  t.match(spy.trade(trade(425.1), NOW), { side: 1 });
  t.match(spy.trade(trade(425.2), NOW), { side: 1 });
  t.match(spy.trade(trade(424.9, null), NOW), { side: -1, size: null });
  spy.quote({ micros: null, ask: { price: 424.9 } }, NOW);
  t.match(spy.trade(trade(424.9), NOW), { bid: 424.9, side: null }, 'of a locked quote none');
  quote(spy, -1, 0);
  t.match(spy.trade(trade(425), NOW), { bid: null, ask: null }, '-1 and 0 are none');
  quote(spy, Number.MAX_VALUE, NaN);
  t.match(spy.trade(trade(425), NOW), { bid: null, ask: null }, 'a trade is not lost for its quote');
  quote(spy, 424, 426);
  spy.forgetQuote();
  t.match(spy.trade(trade(425), NOW), { bid: null });
  t.end();
});

void test('trades of one second have ids of their own, in their order, also when the clock stands or goes back', (t) => {
  const spy = new Instrument('ibkr', usStock('SPY'));
  const seqs = [NOW, NOW, NOW + 1n, NOW - 5_000_000n].map((now) => {
    const event = spy.trade(trade(425), now);
    return event?.kind === 'tick' ? event.seq : -1n;
  });
  t.strictSame(seqs, [NOW, NOW + 1n, NOW + 2n, NOW + 3n]);
  t.end();
});

void test('what stands for no size is null, and the trade is kept', (t) => {
  const spy = new Instrument('ibkr', usStock('SPY'));
  for (const none of [
    2_147_483_647,
    Number('9223372036854775807'),
    2 ** 127 - 1,
    -1,
    -5,
    NaN,
    Infinity,
    null,
  ])
    t.match(spy.trade(trade(425, none), NOW), { kind: 'tick', price: 425, size: null }, String(none));
  t.match(spy.trade({ micros: null, price: 425, size: undefined }, NOW), { size: null, srcTs: NOW });
  for (const size of [0, 0.5, 2_147_483_646, 2_147_483_648])
    t.match(spy.trade(trade(425, size), NOW), { size });
  t.end();
});

void test('what stands for no price is no trade, and a price below zero is one where there are such', (t) => {
  const nothing = [0, -1, -5, undefined, Number.MAX_VALUE, -Number.MAX_VALUE];
  for (const secType of ['STK', 'OPT', 'CRYPTO'] as const) {
    for (const none of nothing) t.equal(of(secType).trade(trade(none), NOW), null, `${secType} ${none}`);
  }
  const oil = of('FUT');
  for (const price of [-37.63, 0, -1]) t.match(oil.trade(trade(price, 2), NOW), { price, size: 2 });
  for (const price of [0, -1, undefined]) t.equal(oil.trade(trade(price, 0), NOW), null);
  t.equal(oil.trade(trade(-1, -1), NOW), null);
  t.match(oil.trade(trade(-37.63, -1), NOW), { price: -37.63, size: null });
  quote(oil, -37.7, -1);
  t.match(oil.trade(trade(-37.63), NOW), { bid: -37.7, ask: -1, side: null });
  oil.quote({ micros: null, ask: { price: -1, size: 0 } }, NOW);
  t.match(oil.trade(trade(-37.63), NOW), { bid: -37.7, ask: null });
  t.end();
});

void test('an instrument without trades: the middle of each quote that changed', (t) => {
  const euro = of('CASH');
  const told: [number, number | null, number | null, bigint][] = [];
  const tell = (bid: number | undefined, ask: number | undefined, micros: bigint | null = null): void => {
    const given = {
      micros,
      ...(bid === undefined ? {} : { bid: { price: bid } }),
      ...(ask === undefined ? {} : { ask: { price: ask } }),
    };
    const event = euro.quote(given, NOW) as TickEvent | null;
    if (event !== null) told.push([event.price, event.bid, event.ask, event.srcTs]);
  };
  tell(1.1, undefined);
  tell(undefined, 1.1001);
  tell(1.1, 1.1001);
  tell(-1, undefined);
  tell(1.1001, 1.1003, 1_762_180_200_000_000n);
  t.strictSame(told, [
    [1.10005, 1.1, 1.1001, NOW],
    [1.1002, 1.1001, 1.1003, 1_762_180_200_000_000n],
  ]);
  t.end();
});

void test('a trade that is no event is refused', (t) => {
  const spy = new Instrument('ibkr', usStock('SPY'));
  t.match(spy.trade(trade(NaN), NOW), { kind: 'refused', reason: 'not_finite' });
  t.match(spy.trade({ ...trade(1), micros: 0n }, NOW), { kind: 'refused', reason: 'time_out_of_range' });
  t.end();
});
