import fc from 'fast-check';
import { test } from 'tap';
import { OffsetTracker, NOT_YET } from '../../../../../src/bus/kafka/group/offset-tracker.ts';

await test('what may be committed is the contiguous beginning, in whatever order it is acknowledged', async () => {
  fc.assert(
    fc.property(
      fc.nat(50),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 60 }),
      fc.infiniteStream(fc.nat()),
      (start, steps, choices) => {
        const tracker = new OffsetTracker(0, start);
        const offsets: number[] = [];
        let offset = start - 1;
        // offsets without a record lie between
        for (const step of steps) offsets.push((offset += step));
        const open = new Set<number>();
        let handed = 0;
        while (handed < offsets.length || open.size > 0) {
          const choice = choices.next().value ?? 0;
          if (handed < offsets.length && choice % 3 !== 0) {
            tracker.take(offsets[handed]);
            open.add(offsets[handed]);
            handed += 1;
          } else if (open.size > 0) {
            const chosen = [...open][choice % open.size];
            open.delete(chosen);
            if (!tracker.acknowledge(chosen) || tracker.acknowledge(chosen)) return false;
          }
          const last = offsets[handed - 1];
          const expected = open.size > 0 ? Math.min(...open) : handed === 0 ? start : last + 1;
          if (tracker.committable !== expected || tracker.pending !== open.size) return false;
        }
        return true;
      },
    ),
  );
});

await test('what is not in tracker cannot be acknowledged', async (t) => {
  const tracker = new OffsetTracker(0, 5);
  tracker.take(5);
  t.notOk(tracker.acknowledge(4));
  t.notOk(tracker.acknowledge(6));
  t.equal(tracker.committable, 5);
});

/** 10 to 19 in tracker, acknowledged up to 14, committed up to 11. */
function begun(): OffsetTracker {
  const tracker = new OffsetTracker(0, 10);
  for (let offset = 10; offset < 20; offset++) tracker.take(offset);
  for (let offset = 10; offset < 15; offset++) tracker.acknowledge(offset);
  tracker.committed = 12;
  return tracker;
}

await test('a tracker is taken up again only when nobody got further', async (t) => {
  t.ok(begun().resume(12), 'as it was');
  t.ok(begun().resume(14), 'a commit of ours whose answer was lost');
  t.ok(begun().resume(15));
  t.notOk(begun().resume(16), 'another got further');
  t.notOk(begun().resume(11), 'it went back');
  t.notOk(begun().resume(NOT_YET), 'the group was deleted');
});

await test('ten thousand in tracker, long runs: it forgets what is behind', async (t) => {
  const tracker = new OffsetTracker(0, 0);
  for (let offset = 0; offset < 10_000; offset++) {
    tracker.take(offset);
    if (offset >= 100) tracker.acknowledge(offset - 100);
  }
  t.equal(tracker.committable, 9900);
  t.equal(tracker.pending, 100);
});
