import { test } from 'tap';
import { providersOf } from '../../../../src/core/market/identity/providers.ts';
import { contentNumber, tradeNumber } from '../../../../src/core/market/identity/trade-number.ts';
import { rowOf, type UpsertTick } from '../../../../src/store/market/upsert-tick.ts';

const TICK: UpsertTick = { provider: 'p', symbol: 'SPY', price: 1, ts: '2025-10-24T14:02:01Z' };
const providers = providersOf({
  content: { identity: 'content' },
  cased: { case: 'refuse', symbols: { kPEPE: '1000PEPE' } },
});
const row = (change: Partial<UpsertTick>) => rowOf({ ...TICK, ...change }, providers);

void test('ticks of a program follow the rules of events', async (t) => {
  for (const [side, expected] of [
    ['buy', 1],
    ['BID', 1],
    [1, 1],
    ['sell', -1],
    ['S', -1],
    [-1, -1],
    ['hold', null],
    [null, null],
  ] as const) {
    t.equal(row({ side }).side, expected, String(side));
  }
  t.equal(row({}).seq, 0n);
  t.equal(row({ seq: '7', tradeId: 'T-1' }).seq, 7n);
  t.equal(row({ tradeId: 'T-1' }).seq, tradeNumber('T-1'));
  t.equal(row({ tradeId: '' }).seq, 0n);
  const content = { price: 1, size: null, bid: null, ask: 2, side: null };
  t.equal(row({ provider: 'content', ask: 2 }).seq, contentNumber(content));
  t.equal(row({ provider: 'content', ask: 2, seq: 0 }).seq, 0n);
  t.equal(row({ symbol: 'spx   141122p00019500' }).symbol, 'SPX   141122P00019500');
  t.equal(row({ symbol: '币安人生usdt' }).symbol, '币安人生USDT');
  t.equal(row({ provider: 'cased', symbol: 'kPEPE' }).symbol, '1000PEPE');
});

void test('what no column can hold is refused in words', async (t) => {
  for (const [change, message] of [
    [{ symbol: ' SPY' }, /begins or ends with a blank/],
    [{ provider: 'a b' }, /^provider "a b" has U\+0020/],
    [{ provider: 'cased', symbol: 'kBONK' }, /"kBONK" has lower-case letters/],
    [{ price: NaN }, /not a finite number: NaN/],
    [{ tradeId: 1.5 }, /^trade_id 1\.5/],
    [{ ts: 'now' }, /not an ISO-8601 time/],
  ] as const) {
    t.throws(() => row(change), { name: 'RangeError', message });
  }
});
