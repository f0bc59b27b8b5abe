import { test } from 'tap';
import { OldestWaiting, takenMsOf } from '../../../../src/core/bus/taken.ts';

const NOW_MS = 1_755_945_303_178;
const DAY_MS = 86_400_000;

void test('a time within a day of ours is believed, any other one is replaced by ours', (t) => {
  for (const claimed of [NOW_MS, NOW_MS - DAY_MS, NOW_MS + DAY_MS])
    t.equal(takenMsOf(claimed, NOW_MS), claimed);
  for (const claimed of [-1, 0, 1_755_945_303, NOW_MS - DAY_MS - 1, NOW_MS + DAY_MS + 1, NOW_MS * 1e6, NaN]) {
    t.equal(takenMsOf(claimed, NOW_MS), NOW_MS, String(claimed));
  }
  t.end();
});

void test('what waits ages by the time of the bus, and at least by how long it was seen to wait', (t) => {
  const waiting = new OldestWaiting();
  t.equal(waiting.ageMs('g', '5-1', NOW_MS - 2_000, NOW_MS), 2_000);
  // its time is no time: every look takes it for new
  t.equal(waiting.ageMs('g', '1-1', NOW_MS, NOW_MS), 0);
  t.equal(waiting.ageMs('g', '1-1', NOW_MS + 700, NOW_MS + 700), 700);
  t.equal(waiting.ageMs('other', '1-1', NOW_MS + 700, NOW_MS + 700), 0, 'each group for itself');
  t.equal(waiting.ageMs('g', '1-2', NOW_MS + 900, NOW_MS + 900), 0, 'another one is the oldest');
  t.equal(waiting.ageMs('g', '1-2', NOW_MS + 5_000, NOW_MS + 1_000), 100, 'a clock ahead of ours');
  t.equal(waiting.ageMs('g', null, 0, NOW_MS + 1_000), 0);
  t.equal(waiting.ageMs('g', '1-2', NOW_MS + 2_000, NOW_MS + 2_000), 0, 'forgotten in between');
  t.end();
});
