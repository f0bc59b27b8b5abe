import { test } from 'tap';
import { twsVerdict } from '../../../../../src/stream/producers/ibkr/codes.ts';
import {
  Instrument,
  parseRtVolume,
  secondsToMicros,
} from '../../../../../src/stream/producers/ibkr/instrument.ts';

const NOW = 1_762_180_200_123_456n;
const trade = (
  price: number,
  size: number | null = 100,
): { micros: bigint; price: number; size: number | null } => ({
  micros: 1_762_180_200_000_000n,
  price,
  size,
});

void test('a trade carries the quote before it, and the side that the quote tells', (t) => {
  const spy = new Instrument('ibkr', 'SPY');
  t.match(spy.trade(trade(425), NOW), { price: 425, size: 100, bid: null, ask: null, side: null });
  spy.bid(424.9);
  spy.ask(425.1);
  t.match(spy.trade(trade(425), NOW), { bid: 424.9, ask: 425.1, side: null });
  t.match(spy.trade(trade(425.1), NOW), { side: 1 });
  t.match(spy.trade(trade(425.2), NOW), { side: 1 });
  t.match(spy.trade(trade(424.9, null), NOW), { side: -1, size: null });
  spy.ask(424.9);
  t.match(spy.trade(trade(424.9), NOW), { side: null }, 'of a locked quote none');
  spy.bid(-1);
  spy.ask(0);
  t.match(spy.trade(trade(425), NOW), { bid: null, ask: null }, '-1 and 0 are none');
  spy.bid(424);
  spy.forgetQuote();
  t.match(spy.trade(trade(425), NOW), { bid: null });
  t.end();
});

void test('trades of one second have ids of their own, in their order, also when the clock stands or goes back', (t) => {
  const spy = new Instrument('ibkr', 'SPY');
  const seqs = [NOW, NOW, NOW + 1n, NOW - 5_000_000n].map((now) => {
    const event = spy.trade(trade(425), now);
    return event.kind === 'tick' ? event.seq : -1n;
  });
  t.strictSame(seqs, [NOW, NOW + 1n, NOW + 2n, NOW + 3n]);
  t.end();
});

void test('a trade that is no event is refused', (t) => {
  const spy = new Instrument('ibkr', 'SPY');
  t.match(spy.trade(trade(NaN), NOW), { kind: 'refused', reason: 'not_finite' });
  t.match(spy.trade(trade(1, -5), NOW), { kind: 'refused', reason: 'bad_size' });
  t.match(spy.trade({ ...trade(1), micros: 0n }, NOW), { kind: 'refused', reason: 'time_out_of_range' });
  t.end();
});

void test('times and texts of TWS', (t) => {
  t.equal(secondsToMicros('1762180200'), 1_762_180_200_000_000n);
  t.equal(secondsToMicros(1_762_180_200), 1_762_180_200_000_000n);
  for (const none of ['', '0', 'x', '1762180200.5', '1762180200123'])
    t.equal(secondsToMicros(none), null, none);
  t.strictSame(parseRtVolume('701.28;1;1348075471534;67854;701.46918464;true'), {
    micros: 1_348_075_471_534_000n,
    price: 701.28,
    size: 1,
  });
  t.strictSame(parseRtVolume('701.28;;1348075471534;67854;701.4;false')?.size, null);
  for (const none of ['', ';0;1348075471534;67854;701.4;true', 'x;1;1348075471534;', '1;1;yesterday;']) {
    t.equal(parseRtVolume(none), null, none);
  }
  t.end();
});

void test('codes are judged by their number', (t) => {
  t.strictSame([1100, 1101, 1102, 10_190, 100, 200, 326, 2104, 99_999].map(twsVerdict), [
    'upstream_lost',
    'upstream_back_empty',
    'upstream_back',
    'tick_limit',
    'pacing',
    'no_contract',
    'reconnect',
    'good',
    'other',
  ]);
  t.end();
});
