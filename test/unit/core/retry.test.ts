import assert from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { backoffMs, busVerdict, storeVerdict, streamVerdict } from '../../../src/core/retry.ts';

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
    '25006',
    '55000',
    // a sequence at its end, a COPY of another server, a statement too complex, rows that are deleted
    '2200H',
    '54001',
    '23001',
    '38000',
    'XX001',
  ]) {
    t.equal(storeVerdict(sqlstate), 'retry', `SQLSTATE ${sqlstate}`);
  }
});

void test('what a row can cause, errors of the schema and the fence are told apart by SQLSTATE', async (t) => {
  for (const sqlstate of ['22003', '22021', '23502', '23503', '23514', '44000', 'P0001', 'P0002', '54000']) {
    t.equal(storeVerdict(sqlstate), 'data', `SQLSTATE ${sqlstate}`);
  }
  t.equal(storeVerdict('23505'), 'look', 'a duplicate may be our own commit');
  for (const sqlstate of ['42P01', '42501', '3F000', '0A000', '22P03', '22P04']) {
    t.equal(storeVerdict(sqlstate), 'schema', `SQLSTATE ${sqlstate}`);
  }
  t.equal(storeVerdict('MDF01'), 'fenced');
});

void test('a bus in the database: what waiting mends, what it does not, and what is full', async (t) => {
  for (const [verdict, codes] of [
    [
      'unreachable',
      [
        undefined,
        '08006',
        '57P01',
        '57014',
        '53300',
        '40P01',
        '55P03',
        '58030',
        '25006',
        'XX000',
        '54000',
        'P0001',
        '2200H',
      ],
    ],
    ['full', ['53100', '53200']],
    ['refused', ['22021', '22001', '23514']],
    ['setup', ['28P01', '28000', '3D000', '42P01', '42883', '42501', '3F000', '23505', 'MDB01', 'MDF01']],
  ] as const) {
    for (const sqlstate of codes) t.equal(busVerdict(sqlstate), verdict, `SQLSTATE ${sqlstate}`);
  }
});

void test('gRPC codes: too large, limited, not served, or try again', async (t) => {
  t.equal(streamVerdict({ code: 8, isTooLarge: true }), 'too_large');
  t.equal(streamVerdict({ code: 8, isTooLarge: false }), 'limited');
  t.equal(streamVerdict({ code: 8 }), 'limited');
  t.equal(streamVerdict({ code: 11 }), 'position_not_served');
  t.equal(streamVerdict({ code: 14 }), 'reconnect');
  t.equal(streamVerdict({}), 'reconnect');
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
