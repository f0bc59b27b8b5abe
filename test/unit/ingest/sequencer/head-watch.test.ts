import { test } from 'tap';
import { HeadWatch } from '../../../../src/ingest/sequencer/head-watch.ts';

interface Watched {
  watch: HeadWatch;
  forks: string[];
  /** head, what we had when it was found below, what we had when that was confirmed */
  below: bigint[][];
  reached: () => number;
}

function open(isAccepted = false): Watched {
  const forks: string[] = [];
  const below: bigint[][] = [];
  let reached = 0;
  const watch = new HeadWatch(
    () => {},
    {
      forked: (reason) => forks.push(reason),
      headReached: () => (reached += 1),
    },
    (...heads) => below.push(heads),
  );
  watch.begin(isAccepted);
  return { watch, forks, below, reached: () => reached };
}

void test('a head below our position is looked at when it is seen twice, a second apart', async (t) => {
  const { watch, below } = open();
  watch.answered(99n, 100n, 0);
  t.equal(watch.isDoubtful, true);
  watch.answered(99n, 100n, 999);
  t.same(below, [], 'not yet a second');
  watch.answered(99n, 500n, 1_000);
  t.same(below, [[99n, 100n, 500n]]);
});

void test('a GetStatus that lags behind the stream is no low head', async (t) => {
  const { watch, below } = open();
  for (let second = 0; second < 60; second += 1) {
    const had = BigInt(1_000 * (second + 1));
    watch.answered(had - 500n, had, second * 1_000); // half a second behind, every time
  }
  t.same(below, []);
});

void test('nothing is compared before the first tick', async (t) => {
  const { watch, below } = open();
  watch.answered(0n, null, 0);
  watch.answered(0n, null, 5_000);
  t.equal(watch.isDoubtful, false);
  t.same(below, []);
});

void test('a low head that was accepted is one again once the head was reached', async (t) => {
  const { watch, below, reached } = open(true);
  t.equal(watch.isAccepted, true);
  t.equal(watch.mayJump(10n ** 12n), true);
  watch.answered(10n, 100n, 0);
  watch.answered(20n, 100n, 5_000);
  t.same([below, reached()], [[], 0]);
  watch.answered(100n, 100n, 9_000);
  t.same([reached(), watch.isAccepted], [1, false]);
  watch.answered(50n, 100n, 10_000);
  watch.answered(50n, 100n, 11_000);
  t.equal(below.length, 1);
});

void test('a tick far beyond the head waits for the head', async (t) => {
  const { watch, forks } = open();
  t.equal(watch.mayJump(5_000_000n), false, 'no head is known');
  t.equal(watch.isDoubtful, true);
  watch.answered(5_000_001n, 10n, 0);
  t.equal(watch.mayJump(5_000_000n), true);
  t.equal(watch.isDoubtful, false);

  t.equal(watch.mayJump(2n ** 62n), false);
  watch.answered(5_000_002n, 10n, 1_000);
  t.same(forks, []);
  watch.answered(5_000_003n, 10n, 2_000);
  t.same(forks, [
    'the stream brought tick 4611686018427387904, far beyond the head of the sequencer, 5000003',
  ]);
});

void test('a stream that was lost takes its doubtful tick with it', async (t) => {
  const { watch, forks } = open();
  t.equal(watch.mayJump(2n ** 62n), false);
  watch.forgetJump();
  t.equal(watch.isDoubtful, false);
  watch.answered(100n, 10n, 0);
  watch.answered(100n, 10n, 5_000);
  t.same(forks, []);
});
