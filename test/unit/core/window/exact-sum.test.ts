import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { test } from 'tap';
import { ExactSum } from '../../../../src/core/window/exact-sum.ts';
import { exactSum, nearest } from './exact-oracle.ts';

const MAX = Number.MAX_VALUE;
const TINY = Number.MIN_VALUE;
/** half of the last bit of the largest double */
const HALF_ULP = 2 ** 970;

const wild = fc.double({ noNaN: true, noDefaultInfinity: true });
const binade = fc
  .tuple(fc.integer({ min: -1074, max: 1000 }), fc.integer({ min: -(2 ** 53), max: 2 ** 53 }))
  .map(([exponent, mantissa]) => mantissa * 2 ** Math.max(-1074, exponent - 53));
const awkward = fc.constantFrom(0, -0, 1, -1, 0.1, 2 ** 53, 1 + 2 ** -52, 2 ** -53, TINY, -TINY, 1e16, 1e-16);
const edge = fc.constantFrom(
  MAX,
  -MAX,
  2 ** 1023,
  -(2 ** 1023),
  HALF_ULP,
  -HALF_ULP,
  2 ** 969,
  1e308,
  -1e308,
);
/** with what cancels parts of it */
const addends = fc
  .array(fc.oneof(wild, binade, awkward, edge), { maxLength: 40, size: 'max' })
  .chain((values) => fc.shuffledSubarray(values).map((some) => [...values, ...some.map((value) => -value)]));
const ordered = addends.chain((values) =>
  fc.tuple(
    fc.constant(values),
    fc.shuffledSubarray(values, { minLength: values.length }),
    fc.array(fc.integer({ min: 1, max: 9 })),
  ),
);

void test('the value is the exact sum rounded once, whatever the order and however far it went between', (t) => {
  fc.assert(
    fc.property(ordered, ([values, shuffled]) => {
      const expected = nearest(exactSum(values)) + 0;
      assert.ok(Object.is(ExactSum.of(values).value(), expected));
      assert.ok(Object.is(ExactSum.of(shuffled).value(), expected));
      assert.equal(ExactSum.of(values).isFinite, Number.isFinite(expected));
    }),
    { numRuns: 3_000 },
  );
  t.end();
});

void test('canonical parts depend on the exact sum alone and hold all of it', (t) => {
  fc.assert(
    fc.property(ordered, ([values, shuffled, cuts]) => {
      const whole = exactSum(values);
      const parts = ExactSum.of(values).canonical();
      assert.deepStrictEqual(ExactSum.of(shuffled).canonical(), parts);
      if (!Number.isFinite(nearest(whole))) {
        assert.deepStrictEqual(parts, [Infinity]);
        return;
      }
      assert.equal(exactSum(parts), whole);
      assert.deepStrictEqual(ExactSum.of(parts).canonical(), parts);
      for (const [at, part] of parts.entries()) {
        assert.equal(part, nearest(exactSum(parts.slice(at))), 'each part is what is left, rounded');
      }
      // sums of sums, unless one of them is beyond the range itself
      const sum = new ExactSum();
      let isKnown = true;
      for (let from = 0, at = 0; from < shuffled.length; at += 1) {
        const to = from + (cuts[at] ?? shuffled.length);
        const some = ExactSum.of(shuffled.slice(from, to));
        isKnown &&= some.isFinite;
        sum.addAll(some.canonical());
        from = to;
      }
      assert.deepStrictEqual(sum.canonical(), isKnown ? parts : [Infinity]);
    }),
    { numRuns: 1_500 },
  );
  t.end();
});

void test('a state makes the same sum again, also where it is beyond the range for now', (t) => {
  fc.assert(
    fc.property(ordered, ([values, shuffled]) => {
      const sum = ExactSum.of(values);
      // what it held before is forgotten, what is behind its parts is not its own
      const again = ExactSum.of(shuffled);
      again.clear();
      assert.ok(Object.is(again.value(), 0));
      for (const part of sum.state()) again.add(part);
      const more = shuffled.map((value) => -value);
      for (const value of more) {
        assert.ok(Object.is(again.value(), sum.value()));
        again.add(value);
        sum.add(value);
      }
      assert.ok(Object.is(again.value(), 0));
    }),
    { numRuns: 500 },
  );
  assert.deepEqual(ExactSum.of(ExactSum.of([1, Infinity]).state()).value(), Infinity);
  t.end();
});

void test('nothing sums up to 0 and never to -0', (t) => {
  for (const values of [[], [0], [-0], [-0, -0], [1, -1], [-TINY, TINY], [-0, 1, -1]]) {
    t.ok(Object.is(ExactSum.of(values).value(), 0), values.join());
    t.strictSame(ExactSum.of(values).canonical(), []);
  }
  t.end();
});

void test('a sum beyond the range of a double comes back with its addends', (t) => {
  const sum = ExactSum.of([MAX, MAX]);
  t.notOk(sum.isFinite);
  t.equal(sum.value(), Infinity);
  t.strictSame(sum.canonical(), [Infinity]);
  sum.add(-MAX);
  t.equal(sum.value(), MAX);
  sum.add(TINY);
  sum.add(-MAX);
  t.strictSame(sum.canonical(), [TINY]);
  t.equal(ExactSum.of([-MAX, -MAX]).value(), -Infinity);
  t.equal(ExactSum.of([MAX, HALF_ULP]).value(), Infinity, 'half to even is beyond');
  t.equal(ExactSum.of([MAX, HALF_ULP, -TINY]).value(), MAX);
  t.equal(ExactSum.of([-TINY, HALF_ULP, MAX]).value(), MAX);
  t.end();
});

void test('what is beyond the range as an addend stays there', (t) => {
  const sum = ExactSum.of([1, Infinity]);
  sum.add(-MAX);
  t.notOk(sum.isFinite);
  t.strictSame(ExactSum.of([...sum.canonical(), -5]).canonical(), [Infinity]);
  t.end();
});

const PYTHON = `
import json, math, sys
def total(values):
    try: return math.fsum(map(float.fromhex, values)).hex()
    except OverflowError: return None
json.dump([total(values) for values in json.load(sys.stdin)], sys.stdout)`;

const hasPython = spawnSync('python3', ['-V']).status === 0;
const skip = hasPython ? {} : { skip: 'no python3 here' };

void test("the value is what Python's math.fsum says", skip, (t) => {
  const arrays = fc.sample(addends, 4_000);
  const input = JSON.stringify(arrays.map((values) => values.map(hexOf)));
  const { stdout } = spawnSync('python3', ['-c', PYTHON], { input, maxBuffer: 2 ** 28 });
  const answers = JSON.parse(stdout.toString()) as (string | null)[];
  let compared = 0;
  for (const [at, answer] of answers.entries()) {
    if (answer === null) continue; // it went beyond the range on its way
    compared += 1;
    const value = ExactSum.of(arrays[at]).value();
    if (hexValue(answer) !== value) t.fail(`${arrays[at].join()}: ${value}, not ${answer}`);
  }
  t.ok(compared > 500, `${compared} compared`);
  t.end();
});

/** Exact, as float.fromhex reads it: the number of smallest doubles. */
function hexOf(value: number): string {
  const whole = exactSum([value]);
  return `${whole < 0n ? '-' : ''}0x${(whole < 0n ? -whole : whole).toString(16)}p-1074`;
}

function hexValue(text: string): number {
  const match = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  if (match === null) throw new Error(`Python's ${text}`);
  const [, sign, head, digits, exponent] = match;
  const scaled = (BigInt(`0x${head}${digits}`) << (1074n + BigInt(exponent))) / 16n ** BigInt(digits.length);
  return nearest(sign === '-' ? -scaled : scaled);
}
