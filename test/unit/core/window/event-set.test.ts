import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { EventSet, fingerprint } from '../../../../src/core/window/event-set.ts';

const SEQ_MAX = 2n ** 63n - 1n;
const offset = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 60_000_000 }));
const seq = fc.oneof(
  fc.bigInt({ min: 0n, max: 3n }),
  fc.bigInt({ min: 2n ** 27n - 2n, max: 2n ** 27n + 2n }),
  fc.bigInt({ min: 0n, max: SEQ_MAX }),
);

void test('a set of events answers what a map does, while it grows', (t) => {
  const add = fc.tuple(offset, seq, fc.integer({ min: 0, max: 2 }));
  fc.assert(
    fc.property(fc.array(add, { maxLength: 400, size: 'max' }), (adds) => {
      const set = new EventSet();
      const model = new Map<string, number>();
      for (const [offset, seq, content] of adds) {
        const key = `${offset}|${seq}`;
        const known = model.get(key);
        const expected = known === undefined ? 'new' : known === content ? 'repeat' : 'conflict';
        assert.equal(set.add(offset, seq, content), expected);
        if (known === undefined) model.set(key, content);
        assert.equal(set.size, model.size);
      }
    }),
    { numRuns: 300 },
  );
  t.end();
});

void test('every event of a hot window is found again, in regular patterns too', (t) => {
  const patterns: ((at: number) => [number, bigint])[] = [
    (at) => [at, 0n],
    (at) => [at * 1000, 7n],
    (at) => [0, BigInt(at)],
    (at) => [at * 512, BigInt(at % 3)],
    (at) => [59_999_999 - at, BigInt(2 ** 27 - 1 - at)],
    (at) => [at % 100, BigInt(at) << 10n],
  ];
  for (const [at, of] of patterns.entries()) {
    const set = new EventSet();
    const found = { new: 0, repeat: 0, conflict: 0 };
    for (let each = 0; each < 50_000; each += 1) found[set.add(...of(each), each)] += 1;
    for (let each = 0; each < 50_000; each += 1) found[set.add(...of(each), each)] += 1;
    t.strictSame(found, { new: 50_000, repeat: 50_000, conflict: 0 }, `pattern ${at}`);
    t.equal(set.size, 50_000);
  }
  t.end();
});

const value = fc.double({ noNaN: true, noDefaultInfinity: true });
const orNull = fc.option(value, { nil: null });
const contents = fc.tuple(value, orNull, orNull, orNull, fc.integer({ min: 0, max: 2 }));

void test('a fingerprint is a whole number, the same for the same content', (t) => {
  fc.assert(
    fc.property(contents, (content) => {
      const print = fingerprint(...content);
      assert.ok(Number.isSafeInteger(print) && print >= 0);
      assert.equal(fingerprint(...content), print);
    }),
  );
  t.end();
});

void test('contents that differ in one place have different fingerprints', (t) => {
  fc.assert(
    fc.property(contents, fc.integer({ min: 0, max: 4 }), orNull, (content, at, other) => {
      const changed: typeof content = [...content];
      if (at === 4) changed[4] = (content[4] + 1) % 3;
      else if (at === 0) changed[0] = other ?? content[0] + 1;
      else changed[at as 1 | 2 | 3] = other;
      fc.pre(!changed.every((each, at) => Object.is(each, content[at])));
      assert.notEqual(fingerprint(...changed), fingerprint(...content));
    }),
    { numRuns: 5_000 },
  );
  t.end();
});

void test('nothing, 0 and -0 are three contents, in each place', (t) => {
  const prints = new Set<number>();
  for (const size of [null, 0, -0]) {
    for (const bid of [null, 0, -0]) {
      for (const ask of [null, 0, -0]) {
        for (const side of [0, 1, 2]) prints.add(fingerprint(1, size, bid, ask, side));
      }
    }
  }
  t.equal(prints.size, 81);
  t.end();
});

void test('a hundred thousand near prices have fingerprints of their own', (t) => {
  const prints = new Set<number>();
  for (let at = 0; at < 100_000; at += 1) prints.add(fingerprint(400 + at / 100, 100, null, null, at % 3));
  t.equal(prints.size, 100_000);
  t.end();
});
