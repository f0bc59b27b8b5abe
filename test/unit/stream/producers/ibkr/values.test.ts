import { test } from 'tap';
import { twsVerdict } from '../../../../../src/stream/producers/ibkr/codes.ts';
import { parseRtVolume, secondsToMicros } from '../../../../../src/stream/producers/ibkr/values.ts';

void test('times of TWS', (t) => {
  t.equal(secondsToMicros('1762180200'), 1_762_180_200_000_000n);
  t.equal(secondsToMicros(1_762_180_200), 1_762_180_200_000_000n);
  for (const none of [
    '',
    '0',
    '-1',
    'x',
    '1762180200.5',
    '1762180200123',
    '2147483647',
    '9223372036854775807',
  ])
    t.equal(secondsToMicros(none), null, none);
  t.end();
});

void test('trades of a market data line', (t) => {
  t.strictSame(parseRtVolume('701.28;1;1348075471534;67854;701.46918464;true'), {
    micros: 1_348_075_471_534_000n,
    price: 701.28,
    size: 1,
  });
  t.equal(parseRtVolume('701.28;;1348075471534;67854;701.4;false')?.size, null);
  t.strictSame(
    parseRtVolume('0.25;2.0000000000000000;;67854;0.25;true'),
    { micros: null, price: 0.25, size: 2 },
    'a trade without a time is one',
  );
  for (const none of ['', ';0;1348075471534;67854;701.4;true', 'x;1;1348075471534;', '1;1']) {
    t.equal(parseRtVolume(none), null, none);
  }
  t.end();
});

void test('codes are judged by their number', (t) => {
  const judged: [number, string][] = [
    [1100, 'upstream_lost'],
    [2110, 'upstream_lost'],
    [1101, 'upstream_back_empty'],
    [1102, 'upstream_back'],
    [2103, 'farm_lost'],
    [2104, 'farm_back'],
    [10_190, 'tick_limit'],
    [100, 'pacing'],
    [200, 'no_contract'],
    [326, 'reconnect'],
    [2106, 'good'],
    [10_090, 'notice'],
    [10_197, 'denied'],
    [99_999, 'other'],
  ];
  for (const [code, verdict] of judged) t.equal(twsVerdict(code), verdict, String(code));
  for (const warning of [2100, 2152, 2188, 2999]) t.equal(twsVerdict(warning), 'notice', String(warning));
  t.end();
});
