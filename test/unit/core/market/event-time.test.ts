import fc from 'fast-check';
import { test } from 'tap';
import {
  EVENT_TIME_END_US,
  EVENT_TIME_FIRST_US,
  eventTime,
  isEventTime,
  parseEventTime,
} from '../../../../src/core/market/event-time.ts';
import { parseIsoMicros } from '../../../../src/core/time.ts';

const outcome = (read: () => bigint): bigint | string => {
  try {
    return read();
  } catch (error) {
    return (error as Error).name;
  }
};

void test('the fast reader and the thorough one agree on every time of the range', (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: EVENT_TIME_FIRST_US, max: EVENT_TIME_END_US - 1n }), (micros) => {
      const { text } = eventTime(micros);
      if (parseEventTime(text).micros !== micros || parseIsoMicros(text) !== micros) throw new Error(text);
    }),
    { numRuns: 5000 },
  );
  const day = 86_400_000_000n;
  for (let micros = EVENT_TIME_FIRST_US; micros < EVENT_TIME_END_US; micros += day) {
    if (parseEventTime(eventTime(micros).text).micros !== micros) t.fail(eventTime(micros).text);
  }
  t.end();
});

void test('and on every text that is nearly one', (t) => {
  const good = '2025-10-24T14:02:01.234567Z';
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.constantFrom(...'0123456789-:.TZ x+Ā'.split('')), (at, char) => {
      const text = good.slice(0, at) + char + good.slice(at + 1);
      const fast = outcome(() => parseEventTime(text).micros);
      if (fast !== outcome(() => parseIsoMicros(text))) throw new Error(text);
    }),
    { numRuns: 3000 },
  );
  t.end();
});

void test('the range is half open', (t) => {
  t.equal(EVENT_TIME_FIRST_US, parseIsoMicros('2000-01-01'));
  t.equal(EVENT_TIME_END_US, parseIsoMicros('2100-01-01'));
  t.strictSame(
    [EVENT_TIME_FIRST_US - 1n, EVENT_TIME_FIRST_US, EVENT_TIME_END_US - 1n, EVENT_TIME_END_US].map(
      isEventTime,
    ),
    [false, true, true, false],
  );
  t.end();
});
