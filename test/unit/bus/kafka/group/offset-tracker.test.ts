import fc from 'fast-check';
import { test } from 'tap';
import { Hand, NOT_YET } from '../../../../../src/bus/kafka/group/offset-tracker.ts';

await test('what may be committed is the contiguous beginning, in whatever order it is acknowledged', async () => {
  fc.assert(
    fc.property(
      fc.nat(50),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 60 }),
      fc.infiniteStream(fc.nat()),
      (start, steps, choices) => {
        const hand = new Hand(0, start);
        const offsets: number[] = [];
        let offset = start - 1;
        // offsets without a record lie between
        for (const step of steps) offsets.push((offset += step));
        const open = new Set<number>();
        let handed = 0;
        while (handed < offsets.length || open.size > 0) {
          const choice = choices.next().value ?? 0;
          if (handed < offsets.length && choice % 3 !== 0) {
            hand.take(offsets[handed]);
            open.add(offsets[handed]);
            handed += 1;
          } else if (open.size > 0) {
            const chosen = [...open][choice % open.size];
            open.delete(chosen);
            if (!hand.acknowledge(chosen) || hand.acknowledge(chosen)) return false;
          }
          const last = offsets[handed - 1];
          const expected = open.size > 0 ? Math.min(...open) : handed === 0 ? start : last + 1;
          if (hand.committable !== expected || hand.pending !== open.size) return false;
        }
        return true;
      },
    ),
  );
});

await test('what is not in hand cannot be acknowledged', async (t) => {
  const hand = new Hand(0, 5);
  hand.take(5);
  t.notOk(hand.acknowledge(4));
  t.notOk(hand.acknowledge(6));
  t.equal(hand.committable, 5);
});

/** 10 to 19 in hand, acknowledged up to 14, committed up to 11. */
function begun(): Hand {
  const hand = new Hand(0, 10);
  for (let offset = 10; offset < 20; offset++) hand.take(offset);
  for (let offset = 10; offset < 15; offset++) hand.acknowledge(offset);
  hand.committed = 12;
  return hand;
}

await test('a hand is taken up again only when nobody got further', async (t) => {
  t.ok(begun().resume(12), 'as it was');
  t.ok(begun().resume(14), 'a commit of ours whose answer was lost');
  t.ok(begun().resume(15));
  t.notOk(begun().resume(16), 'another got further');
  t.notOk(begun().resume(11), 'it went back');
  t.notOk(begun().resume(NOT_YET), 'the group was deleted');
});

await test('ten thousand in hand, long runs: it forgets what is behind', async (t) => {
  const hand = new Hand(0, 0);
  for (let offset = 0; offset < 10_000; offset++) {
    hand.take(offset);
    if (offset >= 100) hand.acknowledge(offset - 100);
  }
  t.equal(hand.committable, 9900);
  t.equal(hand.pending, 100);
});
