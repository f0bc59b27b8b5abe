import { test } from 'tap';
import * as fc from 'fast-check';
import { parseDuration } from '../../../src/core/duration.ts';

void test('Go durations become milliseconds, parts of one kept', async (t) => {
  const cases: [string, number][] = [
    ['100ms', 100],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['500us', 0.5],
    ['2\u00b5s', 0.002],
    ['2\u03bcs', 0.002],
    ['250ns', 0.00025],
    ['0', 0],
    ['0s', 0],
    ['.5s', 500],
    ['1.s', 1000],
    ['30m', 1_800_000],
    ['1h0m0.25s', 3_600_250],
    ['2s500ms', 2500],
  ];
  for (const [text, ms] of cases) t.equal(parseDuration(text), ms, text);
});

void test('what is no duration is refused with a reason', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /empty/],
    ['100', /without a unit/],
    ['1h30', /without a unit/],
    ['5 s', /unknown unit " s"/],
    ['10d', /unknown unit "d"/],
    ['1toString', /unknown unit "toString"/],
    ['-1s', /negative/],
    ['abc', /not a duration/],
    ['1.2.3s', /without a unit/],
    ['.s', /not a duration/],
    ['1s ', /unknown unit/],
    ['1e3s', /unknown unit/],
    ['9999999h', /292 years/],
  ];
  for (const [text, reason] of cases)
    t.throws(() => parseDuration(text), { name: 'RangeError', message: reason }, text);
});

void test('parts add up, whatever their number and order', async (t) => {
  const unitMs = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const part = fc.record({
    count: fc.integer({ min: 0, max: 1000 }),
    unit: fc.constantFrom(...(Object.keys(unitMs) as (keyof typeof unitMs)[])),
  });
  fc.assert(
    fc.property(fc.array(part, { minLength: 1 }), (parts) => {
      const expected = parts.reduce((sum, { count, unit }) => sum + count * unitMs[unit], 0);
      const found = parseDuration(parts.map(({ count, unit }) => `${count}${unit}`).join(''));
      return Math.abs(found - expected) <= 1e-9 * Math.max(1, expected);
    }),
  );
  t.pass();
});
