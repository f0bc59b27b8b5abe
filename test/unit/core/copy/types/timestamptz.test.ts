import * as fc from 'fast-check';
import { test } from 'tap';
import { hiWord, loWord } from '../../../../../src/core/chain/u64.ts';
import {
  isFrom2000To,
  isTimestamptz,
  latestTickMicros,
  writeTimestamptz,
} from '../../../../../src/core/copy/types/timestamptz.ts';
import { NOW_MICROS, U64_MAX } from '../frames.ts';

const YEAR_2000 = BigInt(Date.UTC(2000, 0, 1)) * 1000n;
const DAY = 86_400_000_000n;
/** 294276-12-31 as days since 1970 by the civil calendar: 400 years are 146,097 days, and 292,400 = 731 × 400. */
const YEAR_294277_DAYS = 731n * 146_097n + BigInt(Date.UTC(1877, 0, 1)) / 86_400_000n;
const LAST = YEAR_294277_DAYS * DAY - 1n;

function accepts(micros: bigint, now: bigint): boolean {
  const latest = latestTickMicros(now);
  return isFrom2000To(hiWord(micros), loWord(micros), hiWord(latest), loWord(latest));
}

void test('the last time of a timestamptz is the last microsecond of the year 294276', async (t) => {
  t.equal(LAST - YEAR_2000, 9_223_371_331_199_999_999n);
  for (const [micros, fits] of [
    [0n, true],
    [LAST, true],
    [LAST + 1n, false],
    [2n ** 63n - 1n, true],
    [U64_MAX, false],
  ] as const) {
    t.equal(isTimestamptz(hiWord(micros), loWord(micros)), fits, String(micros));
  }
});

void test('times are written from 2000 on, before it as negative numbers', async (t) => {
  const view = new DataView(new ArrayBuffer(12));
  fc.assert(
    fc.property(fc.oneof(fc.bigInt(0n, LAST), fc.bigInt(YEAR_2000 - 5n, YEAR_2000 + 2n ** 33n)), (micros) => {
      return (
        writeTimestamptz(view, 0, hiWord(micros), loWord(micros)) === 12 &&
        view.getInt32(0) === 8 &&
        view.getBigInt64(4) === micros - YEAR_2000
      );
    }),
  );
  writeTimestamptz(view, 0, 0, 0);
  t.equal(view.getBigInt64(4), -YEAR_2000);
});

void test('a tick is from 2000 on and at most a day ahead, both ends included', async (t) => {
  t.ok(accepts(YEAR_2000, NOW_MICROS));
  t.notOk(accepts(YEAR_2000 - 1n, NOW_MICROS));
  t.ok(accepts(NOW_MICROS + DAY, NOW_MICROS));
  t.notOk(accepts(NOW_MICROS + DAY + 1n, NOW_MICROS));
  t.notOk(accepts(U64_MAX, NOW_MICROS));
  t.ok(accepts(LAST, LAST), 'never beyond what the column holds');
  t.notOk(accepts(LAST + 1n, LAST));
  t.notOk(accepts(0n, -DAY - 1n), 'a clock before 1970 accepts nothing');
  fc.assert(
    fc.property(fc.bigInt(0n, U64_MAX), fc.bigInt(0n, 2n ** 62n), (micros, now) => {
      return accepts(micros, now) === (micros >= YEAR_2000 && micros <= now + DAY);
    }),
  );
});
