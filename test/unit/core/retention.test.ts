import { test } from 'tap';
import { dayOf, nextDay, tooShort } from '../../../src/core/retention.ts';
import { parseIsoMicros } from '../../../src/core/time.ts';

const HOUR_MS = 3_600_000;

void test('ages below what late events need are named with the least that they may be', async (t) => {
  const ages = {
    chainMs: HOUR_MS,
    tickDataMs: 48 * HOUR_MS,
    barsMs: 72 * HOUR_MS,
    signalsMs: null,
    mdTicksMs: null,
  };
  t.strictSame(tooShort(ages, 24 * HOUR_MS), []);
  t.strictSame(tooShort({ ...ages, tickDataMs: 48 * HOUR_MS - 1 }, 24 * HOUR_MS), [
    { key: 'retentionTickDataMs', leastMs: 48 * HOUR_MS },
  ]);
  t.strictSame(tooShort(ages, 25 * HOUR_MS), [
    { key: 'retentionTickDataMs', leastMs: 49 * HOUR_MS },
    { key: 'retentionBarsMs', leastMs: 73 * HOUR_MS },
  ]);
  t.strictSame(
    tooShort({ chainMs: 1, tickDataMs: null, barsMs: null, signalsMs: null, mdTicksMs: null }, 24 * HOUR_MS),
    [],
  );
});

void test('days begin at midnight UTC', async (t) => {
  const midnight = parseIsoMicros('2024-02-29');
  t.equal(dayOf(midnight), midnight);
  t.equal(dayOf(midnight - 1n), parseIsoMicros('2024-02-28'));
  t.equal(dayOf(parseIsoMicros('2024-02-29T23:59:59.999999Z')), midnight);
  t.equal(nextDay(midnight), parseIsoMicros('2024-03-01'));
  t.equal(nextDay(midnight - 1n), midnight);
});
