import { test } from 'tap';
import type { BarEvent } from '../../../../src/core/market/event.ts';
import { UnfitCandles } from '../../../../src/stream/bars/unfit-candles.ts';
import { testEnv } from '../../../support/bus/env.ts';

const candle = (provider: string, interval: string): BarEvent => ({
  kind: 'bar',
  provider,
  symbol: 'SPY',
  srcTs: 1_755_945_300_000_000n,
  ingestTs: null,
  seq: 0n,
  interval,
  open: 1,
  high: 2,
  low: 1,
  close: 2,
  volume: 3,
  origin: 'live',
  replayRunId: null,
  eventId: '',
});

void test('candles that fit into no window are said at once, then once a minute for each provider and interval', (t) => {
  let nowMs = 5;
  const said: Record<string, unknown>[] = [];
  const env = testEnv({
    clock: { monotonicMs: () => nowMs, nowMicros: () => 0n },
    log: (level, message, fields) => said.push({ level, message, ...fields }),
  });
  const unfit = new UnfitCandles(env, 2_000);
  for (let at = 0; at < 10; at += 1) unfit.add(candle('feed', '1m'), 'too_long');
  unfit.add(candle('feed', '1m'), 'straddles');
  unfit.add(candle('other', '1m'), 'too_long');
  unfit.add(candle('feed', '5m'), 'too_long');
  const told = (): unknown[] =>
    said.map(({ reason, provider, interval, count }) => [reason, provider, interval, count]);
  const first = [
    ['too_long', 'feed', '1m', 1],
    ['straddles', 'feed', '1m', 1],
    ['too_long', 'other', '1m', 1],
    ['too_long', 'feed', '5m', 1],
  ];
  t.strictSame(told(), first);
  t.match(said[0], {
    level: 'warn',
    window_ms: 2_000,
    symbol: 'SPY',
    src_ts: '2025-08-23T10:35:00.000000Z',
    hint: /window_ms/,
  });
  nowMs += 60_000;
  unfit.add(candle('feed', '1m'), 'too_long');
  unfit.add(candle('feed', '1m'), 'too_long');
  t.strictSame(told(), [...first, ['too_long', 'feed', '1m', 10]], 'with those in between');
  t.end();
});
