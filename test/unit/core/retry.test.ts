import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { backoffMs, storeVerdict, streamVerdict } from '../../../src/core/retry.ts';

void test('outages and resource errors are tried again, never charged to the data', async (t) => {
  for (const sqlstate of [
    undefined,
    '',
    '08006',
    '57P01',
    '57P03',
    '53100',
    '53200',
    '53300',
    '53400',
    '40001',
    '40P01',
    '55P03',
    '58030',
    'XX000',
    '25P03',
  ]) {
    t.equal(storeVerdict(sqlstate), 'retry', `SQLSTATE ${sqlstate}`);
  }
});

void test('errors of the data, the schema and the fence are told apart by SQLSTATE', async (t) => {
  t.equal(storeVerdict('22P03'), 'data');
  t.equal(storeVerdict('23514'), 'data');
  t.equal(storeVerdict('23505'), 'look', 'a duplicate may be our own commit');
  t.equal(storeVerdict('42P01'), 'schema');
  t.equal(storeVerdict('MDF01'), 'fenced');
});

void test('gRPC codes: too large, not served, or try again', async (t) => {
  t.equal(streamVerdict(8), 'too_large');
  t.equal(streamVerdict(11), 'position_not_served');
  t.equal(streamVerdict(14), 'reconnect');
  t.equal(streamVerdict(undefined), 'reconnect');
});

void test('a backoff grows, stays within its cap and never reaches zero', async (t) => {
  fc.assert(
    fc.property(fc.nat(1000), fc.double({ min: 0, max: 0.999999, noNaN: true }), (attempt, random) => {
      const wait = backoffMs(attempt, { firstMs: 100, maxMs: 5000 }, random);
      assert.ok(wait >= 50 && wait <= 5000);
    }),
  );
  t.equal(backoffMs(0, { firstMs: 100, maxMs: 5000 }, 0), 50);
  t.equal(backoffMs(20, { firstMs: 100, maxMs: 5000 }, 0), 2500);
});
