import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { StateIn, StateOut } from '../../../../../src/core/feature/series/state.ts';

void test('numbers come back bit for bit, however many', (t) => {
  const item = fc.oneof(
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.array(fc.double(), { maxLength: 300, size: 'max' }),
  );
  fc.assert(
    fc.property(fc.array(item, { maxLength: 40 }), (items) => {
      const out = new StateOut();
      for (const each of items) {
        if (typeof each === 'number') out.f64(each);
        else if (typeof each === 'bigint') out.i64(each);
        else out.f64s(each);
      }
      // somewhere in a larger buffer, as a driver hands it over
      const bytes = new Uint8Array([1, 2, 3, ...out.bytes(), 4]).subarray(3, -1);
      const state = new StateIn(bytes);
      for (const each of items) {
        if (typeof each === 'number') assert.ok(Object.is(state.f64(), each));
        else if (typeof each === 'bigint') assert.equal(state.i64(), each);
        else assert.deepEqual([...state.f64s()], each);
      }
      assert.ok(state.isAtEnd);
    }),
  );
  t.end();
});

void test('more than there is cannot be read', (t) => {
  const out = new StateOut();
  out.f64(3);
  out.f64(1);
  t.throws(() => new StateIn(out.bytes()).f64s(), { message: '3 numbers are stated where 8 bytes are left' });
  for (const count of [-1, 0.5, NaN, 1e300]) {
    const broken = new StateOut();
    broken.f64(count);
    t.throws(() => new StateIn(broken.bytes()).f64s(), RangeError);
  }
  t.throws(() => new StateIn(new Uint8Array(7)).f64(), RangeError);
  t.throws(() => new StateIn(new Uint8Array(7)).i64(), RangeError);
  const two = new StateOut();
  two.f64s([1, 2]);
  t.throws(() => new StateIn(two.bytes()).f64sInto(new Float64Array(3)), {
    message: '2 numbers are stated where there are 3',
  });
  t.end();
});
