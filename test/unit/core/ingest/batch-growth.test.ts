import fc from 'fast-check';
import { test } from 'tap';
import { BatchGrowth } from '../../../../src/core/ingest/batch-growth.ts';

const ANSWER_MS = 30_000;

void test('a batch that was not answered in time halves what follows; quick ones of the full size double it again', async (t) => {
  const growth = new BatchGrowth(4000, ANSWER_MS);
  t.equal(growth.limit, 4000);
  growth.late(4000);
  growth.late(4000); // sent beside it
  t.equal(growth.limit, 2000);
  growth.committed(2000, 20_000);
  growth.committed(1999, 10);
  t.equal(growth.limit, 2000, 'neither a slow one nor a small one speaks for more');
  growth.late(2000);
  growth.late(900);
  t.equal(growth.limit, 450);
  for (let quick = 0; quick < 7; quick += 1) growth.committed(growth.limit, 100);
  t.equal(growth.limit, 450, 'after three times it takes eight');
  for (let quick = 0; quick < 33; quick += 1) growth.committed(growth.limit, 100);
  t.equal(growth.limit, 4000, 'and no more than BATCH_MAX');
  growth.late(1);
  t.equal(growth.limit, 1);
});

void test('whatever a database takes in time, batches come to a size that it takes', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4000 }), fc.integer({ min: 1, max: 4000 }), (most, msPerFrame) => {
      const growth = new BatchGrowth(most, ANSWER_MS);
      let late = 0;
      for (let batch = 0; batch < 60; batch += 1) {
        const durationMs = growth.limit * msPerFrame;
        if (durationMs > ANSWER_MS) growth.late(growth.limit);
        else growth.committed(growth.limit, durationMs);
        if (durationMs > ANSWER_MS) late += 1;
      }
      return (
        late <= Math.ceil(Math.log2(most)) && growth.limit * Math.min(msPerFrame, ANSWER_MS) <= ANSWER_MS
      );
    }),
  );
});
