import { test } from 'tap';
import { parseIsoMicros } from '../../../../../src/core/time.ts';
import { isOpen, parseTradingHours } from '../../../../../src/stream/producers/ibkr/trading-hours.ts';

const WEEK = '20260306:0400-20260306:2000;20260307:CLOSED;20260308:CLOSED;20260309:0400-20260309:2000';

void test('an exchange is open within its hours, in its own time zone', (t) => {
  const hours = parseTradingHours(WEEK, 'US/Eastern');
  const open = (time: string): boolean => isOpen(hours, parseIsoMicros(time));
  // standard time before 8 March, summer time after it
  t.notOk(open('2026-03-06T08:59:59Z'));
  t.ok(open('2026-03-06T09:00:00Z'));
  t.ok(open('2026-03-07T00:59:59Z'));
  t.notOk(open('2026-03-07T01:00:00Z'));
  t.notOk(open('2026-03-08T15:00:00Z'), 'Sunday');
  t.notOk(open('2026-03-09T07:59:59Z'));
  t.ok(open('2026-03-09T08:00:00Z'));
  t.ok(open('2026-03-12T03:00:00Z'), 'what is not known is taken for open');
  t.end();
});

void test('nights, lunch breaks and every zone that TWS names', (t) => {
  const night = parseTradingHours('20260308:1700-20260309:1600;20260309:1700-20260310:1600', 'US/Central');
  t.ok(isOpen(night, parseIsoMicros('2026-03-09T05:00:00Z')));
  t.notOk(isOpen(night, parseIsoMicros('2026-03-09T21:30:00Z')));
  const lunch = parseTradingHours('20260309:0930-1200,1300-1600;20260310:CLOSED', 'Hongkong');
  t.ok(isOpen(lunch, parseIsoMicros('2026-03-09T01:30:00Z')));
  t.notOk(isOpen(lunch, parseIsoMicros('2026-03-09T04:30:00Z')));
  t.ok(isOpen(lunch, parseIsoMicros('2026-03-09T05:00:00Z')));
  t.notOk(isOpen(lunch, parseIsoMicros('2026-03-10T05:00:00Z')));
  const zones = 'Europe/Riga Australia/NSW US/Pacific Japan US/Eastern Israel MET Asia/Calcutta Hongkong GMT';
  for (const zone of zones.split(' ')) t.not(parseTradingHours(WEEK, zone), null, zone);
  t.not(parseTradingHours(WEEK, 'EST (Eastern Standard Time)'), null);
  t.end();
});

void test('where TWS does not say when it is open, it is', (t) => {
  const nothing: [string | undefined, string | undefined][] = [
    ['', 'US/Eastern'],
    [undefined, 'US/Eastern'],
    [WEEK, ''],
    [WEEK, undefined],
    [WEEK, 'Mars/Olympus'],
    ['20260309:0930', 'US/Eastern'],
    ['20260309:1700-1600', 'US/Eastern'],
  ];
  for (const [text, zone] of nothing) {
    t.equal(parseTradingHours(text, zone), null);
    t.ok(isOpen(parseTradingHours(text, zone), parseIsoMicros('2026-03-08T12:00:00Z')));
  }
  t.end();
});
