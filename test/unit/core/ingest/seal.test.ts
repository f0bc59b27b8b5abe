import { test } from 'tap';
import { shouldSeal } from '../../../../src/core/ingest/seal.ts';

const limits = { batchTicks: 250, batchTicksMax: 4000, flushMs: 100, inFlightMax: 3 };

void test('a full batch goes when somebody can take it', async (t) => {
  t.ok(shouldSeal({ ticks: 250, ageMs: 1 }, 0, limits));
  t.notOk(shouldSeal({ ticks: 249, ageMs: 99 }, 0, limits));
});

void test('an old batch goes whatever its size', async (t) => {
  t.ok(shouldSeal({ ticks: 1, ageMs: 100 }, 2, limits));
});

void test('while everybody is busy the batch grows, up to BATCH_MAX', async (t) => {
  t.notOk(shouldSeal({ ticks: 3999, ageMs: 5000 }, 3, limits));
  t.ok(shouldSeal({ ticks: 4000, ageMs: 1 }, 3, limits));
});

void test('while the database is slow it grows no further than what is answered in time', async (t) => {
  t.notOk(shouldSeal({ ticks: 124, ageMs: 5000 }, 3, limits, 125));
  t.ok(shouldSeal({ ticks: 125, ageMs: 1 }, 3, limits, 125));
});
