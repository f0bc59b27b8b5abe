import { Worker } from 'node:worker_threads';
import { test } from 'tap';
import * as fc from 'fast-check';
import { formatMicros, parseIsoMicros, systemClock } from '../../../src/core/time.ts';

void test('times are printed with six decimals and Z', async (t) => {
  t.equal(formatMicros(0n), '1970-01-01T00:00:00.000000Z');
  t.equal(formatMicros(1_755_945_303_176_042n), '2025-08-23T10:35:03.176042Z');
  t.equal(formatMicros(-1n), '1969-12-31T23:59:59.999999Z');
  t.equal(formatMicros(951_782_400_000_000n), '2000-02-29T00:00:00.000000Z');
});

void test('years beyond four digits are printed in the extended form, up to the last u64', async (t) => {
  t.equal(formatMicros(253_402_300_799_999_999n), '9999-12-31T23:59:59.999999Z');
  t.equal(formatMicros(253_402_300_800_000_000n), '+010000-01-01T00:00:00.000000Z');
  t.equal(formatMicros(2n ** 63n - 1n), '+294247-01-10T04:00:54.775807Z');
  t.equal(formatMicros(2n ** 64n - 1n), '+586524-01-19T08:01:49.551615Z');
  t.equal(formatMicros(-(2n ** 63n)), '-290308-12-21T19:59:05.224192Z');
});

void test('the calendar agrees with the platform over its whole range', async (t) => {
  const limitMs = 8_640_000_000_000_000;
  fc.assert(
    fc.property(
      fc.integer({ min: -limitMs, max: limitMs }),
      fc.integer({ min: 0, max: 999 }),
      (ms, micros) => {
        const expected = new Date(ms).toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`);
        return formatMicros(BigInt(ms) * 1000n + BigInt(micros)) === expected;
      },
    ),
    { numRuns: 5000 },
  );
  t.equal(formatMicros(BigInt(limitMs) * 1000n), new Date(limitMs).toISOString().replace('Z', '000Z'));
});

void test('what is printed is read back as the same', async () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      (micros) => parseIsoMicros(formatMicros(micros)) === micros,
    ),
    { numRuns: 5000 },
  );
});

void test('the usual ways to write a time are read', async (t) => {
  const noon = 1_735_732_800_000_000n;
  const cases: [string, bigint][] = [
    ['2025-01-01T12:00:00Z', noon],
    ['2025-01-01T12:00:00', noon],
    ['2025-01-01 12:00:00', noon],
    ['2025-01-01 12:00:00 Z', noon],
    ['2025-01-01T12:00', noon],
    ['2025-01-01', noon - 12n * 3_600_000_000n],
    ['2025-01-01T13:30:00+01:30', noon],
    ['2025-01-01T07:00:00-0500', noon],
    ['2025-01-01 12:00:00+00', noon],
    ['2025-01-01T12:00:00.5Z', noon + 500_000n],
    ['2025-01-01T12:00:00,000001Z', noon + 1n],
    ['2025-01-01T12:00:00.000001999Z', noon + 1n],
    ['20250101T120000Z', noon],
    ['20250101T120000.000001+0000', noon + 1n],
    ['20250101T1200', noon],
    ['20250101 12:00:00', noon],
    ['2025-01-01T120000Z', noon],
    ['2025-01-01 12:00:00 UTC', noon],
    ['2025-01-01 12:00:00.5 utc', noon + 500_000n],
    ['2025-01-01T12:00:00UTC', noon],
    ['2025-01-01 12:00:00 GMT', noon],
    ['2025-01-01 12:00:00.000001 +0000 UTC', noon + 1n],
    ['2025-01-01T11:59:60Z', noon],
    ['2025-01-01T11:59:60.25Z', noon + 250_000n],
    ['2024-12-31T24:00:00Z', noon - 12n * 3_600_000_000n],
    ['2024-12-31T24:00', noon - 12n * 3_600_000_000n],
    ['20241231T240000.000', noon - 12n * 3_600_000_000n],
    ['2024-12-31T23:59:60Z', noon - 12n * 3_600_000_000n],
    ['2025-01-01T01:29:60+01:30', noon - 12n * 3_600_000_000n],
  ];
  for (const [text, micros] of cases) t.equal(parseIsoMicros(text), micros, text);
});

void test('what is no time is refused', async (t) => {
  for (const text of [
    '',
    'now',
    '2025-13-01',
    '2025-00-01',
    '2025-02-29',
    '1900-02-29',
    '2025-04-31',
    '2025-01-01T24:00:01Z',
    '2025-01-01T24:00:00.0000001Z',
    '2025-01-01T24:01Z',
    '2025-01-01T25:00:00Z',
    '2025-01-01T12:60:00Z',
    '2025-01-01T12:00:61Z',
    '20250101T1200:00Z',
    '2025-0101T12:00:00Z',
    '20250101',
    '20250101Z',
    '20251301T120000Z',
    '20250101T12000Z',
    '+0100000101T120000Z',
    '2025-01-01 12:00:00 +0200 UTC',
    '2025-01-01 12:00:00 UTC+2',
    '2025-01-01T12:00:00+16:00',
    '2025-01-01T12:00:00 CET',
    '1755945303176042',
    '25-01-01',
    ' 2025-01-01',
  ]) {
    t.throws(() => parseIsoMicros(text), { name: 'RangeError' }, JSON.stringify(text));
  }
  t.equal(parseIsoMicros('2000-02-29'), 951_782_400_000_000n, 'a leap day that exists');
  for (const [text, why] of [
    ['2025-13-01', 'month 13 does not exist'],
    ['20250229T000000', 'day 29 does not exist in that month'],
    ['2025-01-01T12:00:61', 'a time of day beyond 23:59:60'],
    ['2025-01-01T24:00:01', 'a time of day beyond 24:00:00'],
    ['2025-01-01T12:00:00+16:00', 'zone +16:00 does not exist'],
    ['2025-01-01T12:00:00 +0200 UTC', 'zone +0200 UTC contradicts itself'],
    ['now', 'not an ISO-8601 time such as 2025-01-01T12:00:00.000000Z'],
  ] as const) {
    t.throws(() => parseIsoMicros(text), { message: why });
  }
});

void test('the system clock tells the wall time in µs and a monotonic time that never goes back', async (t) => {
  const before = BigInt(Date.now() - 10) * 1000n;
  const now = systemClock.nowMicros();
  const after = BigInt(Date.now() + 10) * 1000n;
  t.ok(now >= before && now <= after, 'within the platform clock');
  const fractions = new Set<bigint>();
  let last = systemClock.monotonicMs();
  let backwards = 0;
  for (let i = 0; i < 20_000; i++) {
    fractions.add(systemClock.nowMicros() % 1000n);
    const next = systemClock.monotonicMs();
    if (next < last) backwards++;
    last = next;
  }
  t.equal(backwards, 0);
  t.ok(fractions.size > 1, 'finer than a millisecond');
});

void test('the monotonic time of two threads is on one scale', async (t) => {
  const source = new URL('../../../src/core/time.ts', import.meta.url).href;
  const code = `import { parentPort } from 'node:worker_threads';
    const { systemClock } = await import(${JSON.stringify(source)});
    parentPort.postMessage(systemClock.monotonicMs());`;
  const before = systemClock.monotonicMs();
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const there = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const after = systemClock.monotonicMs();
  await worker.terminate();
  t.ok(before - 1 <= there && there <= after + 1, `${before} <= ${there} <= ${after}`);
});
