import fc from 'fast-check';
import { test } from 'tap';
import { AgedEnds } from '../../../../src/core/bus/aged-ends.ts';

const compare = (a: string, b: string): number => Number(a) - Number(b);

void test('only what was there ageMs ago is old', (t) => {
  const ends = new AgedEnds(1_000, compare);
  t.equal(ends.upTo(0), null);
  ends.note('5', 0);
  ends.note('9', 500);
  t.equal(ends.upTo(999), null);
  t.equal(ends.upTo(1_000), '5');
  t.equal(ends.upTo(1_499), '5');
  t.equal(ends.upTo(1_500), '9');
  t.equal(ends.upTo(1e9), '9', 'as long as nobody looks again');
  t.end();
});

void test('a log that ends further on before was made anew: its age begins anew', (t) => {
  const ends = new AgedEnds(1_000, compare);
  ends.note('50', 0);
  ends.note('60', 500);
  ends.note('3', 900);
  t.equal(ends.upTo(1_800), null);
  t.equal(ends.upTo(1_900), '3');
  t.end();
});

void test('whatever is noted when: nothing is old too early, nor more than a part of the age too late', (t) => {
  const AGE_MS = 960;
  const looks = fc.array(
    fc.record({ waitMs: fc.integer({ min: 0, max: 200 }), records: fc.nat({ max: 3 }) }),
    {
      minLength: 1,
      maxLength: 200,
    },
  );
  fc.assert(
    fc.property(looks, (steps) => {
      const ends = new AgedEnds(AGE_MS, compare);
      const seenMs: number[] = [];
      let nowMs = 0;
      for (const { waitMs, records } of steps) {
        nowMs += waitMs;
        for (let record = 0; record < records; record += 1) seenMs.push(nowMs);
        if (seenMs.length === 0) continue;
        ends.note(String(seenMs.length - 1), nowMs);
        const upTo = ends.upTo(nowMs);
        const old = upTo === null ? 0 : Number(upTo) + 1;
        for (let at = 0; at < old; at += 1) if (nowMs - seenMs[at] < AGE_MS) return false;
        // an end may wait for the spacing, and for the look after it
        const sure = AGE_MS + ends.spacingMs + 200;
        if (seenMs.slice(old).some((ms) => nowMs - ms > sure)) return false;
      }
      return true;
    }),
  );
  t.end();
});

void test('few ends are kept, however long it is looked at', (t) => {
  const ends = new AgedEnds(30 * 86_400_000, compare);
  for (let look = 0; look < 100_000; look += 1) ends.note(String(look), look * 60_000);
  t.ok(ends.kept <= 34, `${ends.kept}`);
  t.end();
});
