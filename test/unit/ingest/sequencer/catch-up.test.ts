import { test, type Test } from 'tap';
import { CatchUp, type Comparison } from '../../../../src/ingest/sequencer/catch-up.ts';
import type { TickServer } from '../../../../src/ingest/sequencer/connection.ts';
import { frame } from '../gaps/harness.ts';

interface Sequencer {
  /** what GetStatus answers, one after the other; the last one from then on */
  heads: (bigint | Error)[];
  /** numbers that GetTick does not have */
  absent?: readonly bigint[];
}

interface Watched {
  catchUp: CatchUp;
  server: TickServer;
  /** numbers that were compared with what is stored */
  compared: bigint[];
  behind: bigint[];
  forks: string[];
  lines: string[];
}

/** What is stored ends at `had`. */
function open(
  { heads, absent = [] }: Sequencer,
  had: bigint | null,
  compare: (number: bigint) => Comparison = () => ({ kind: 'equal' }),
): Watched {
  const compared: bigint[] = [];
  const behind: bigint[] = [];
  const forks: string[] = [];
  const lines: string[] = [];
  const server = {
    head: async () => {
      const head = heads.length > 1 ? heads.shift()! : heads[0];
      if (head instanceof Error) throw head;
      return head;
    },
    tick: async (number: bigint) => (absent.includes(number) ? null : frame(number)),
  } as unknown as TickServer;
  const catchUp = new CatchUp(
    (_level, message) => lines.push(message),
    {
      had: () => had,
      head: () => {},
      compare: async (number) => {
        compared.push(number);
        return compare(number);
      },
      state: ({ head }) => behind.push(head),
      forked: (reason) => forks.push(reason),
    },
    () => false,
    1,
  );
  catchUp.begin();
  return { catchUp, server, compared, behind, forks, lines };
}

async function admitted(t: Test, watched: Watched, isAdmitted = true): Promise<void> {
  t.equal(await watched.catchUp.admits(watched.server), isAdmitted);
}

void test('a head at our position or beyond it is not looked at', async (t) => {
  for (const head of [100n, 5_000n]) {
    const watched = open({ heads: [head] }, 100n);
    await admitted(t, watched);
    t.same([watched.compared, watched.behind, watched.lines], [[], [], []]);
  }
  await admitted(t, open({ heads: [0n] }, null));
});

void test('a sequencer that is behind is waited for, and compared at its head and at our position', async (t) => {
  const watched = open({ heads: [40n, 40n, 60n, 99n, 105n] }, 100n);
  await admitted(t, watched);
  t.same(watched.behind, [40n, 60n, 99n]);
  t.same(watched.compared, [40n, 60n, 99n, 100n], 'the tick at the position last, before anything is taken');
  t.same(watched.forks, []);
  t.same(watched.lines, [
    'The sequencer is behind our position; nothing is taken until it has come up to it',
    'The sequencer has our chain up to the position; going on',
  ]);
});

void test('a low head that is seen once is compared at the position', async (t) => {
  const watched = open({ heads: [99n, 100n] }, 100n);
  await admitted(t, watched);
  t.same([watched.behind, watched.compared], [[], [100n]]);
});

void test('a head with another tick is a fork', async (t) => {
  const watched = open({ heads: [40n] }, 100n, () => ({ kind: 'different', detail: 'differs in output' }));
  await admitted(t, watched, false);
  t.same(watched.forks, [
    'the head of the sequencer is 40, it had sent tick 100 before, and its tick 40 is not the one that is stored: differs in output',
  ]);
});

void test('a sequencer that comes up to our position with another tick is a fork', async (t) => {
  const watched = open({ heads: [40n, 40n, 120n] }, 100n, (number) =>
    number === 100n ? { kind: 'different', detail: 'differs in output' } : { kind: 'equal' },
  );
  await admitted(t, watched, false);
  t.same(watched.forks, [
    'the sequencer, which was behind our position 100, has come up to it, and its tick 100 is not the one that is stored: differs in output',
  ]);
});

void test('what was in doubt on one connection is compared on the next one', async (t) => {
  const watched = open({ heads: [40n, 40n, new Error('gone'), 100n] }, 100n);
  await t.rejects(watched.catchUp.admits(watched.server), { message: 'gone' });
  await admitted(t, watched);
  t.same(watched.compared, [40n, 100n]);
  await admitted(t, watched);
  t.same(watched.compared, [40n, 100n], 'once');
});

void test('GetStatus that fails is no reason not to stream while nothing is in doubt', async (t) => {
  await admitted(t, open({ heads: [new Error('UNIMPLEMENTED')] }, 100n));
});

void test('where nothing is stored the nearest tick below is compared', async (t) => {
  const below = new Map([[40n, 38n], [100n, 97n]]); // prettier-ignore
  const watched = open({ heads: [40n, 40n, 100n] }, 100n, (number) =>
    below.has(number) ? { kind: 'unknown', below: below.get(number)! } : { kind: 'equal' },
  );
  await admitted(t, watched);
  t.same(watched.compared, [40n, 38n, 100n, 97n]);
});

void test('without anything stored to compare it goes on where the head is', async (t) => {
  const watched = open({ heads: [40n, 40n, 100n] }, 100n, () => ({ kind: 'unknown', below: null }));
  await admitted(t, watched);
  t.same(watched.behind, [40n]);
});

void test('what is not committed yet is waited for', async (t) => {
  let asked = 0;
  const watched = open({ heads: [99n, 100n] }, 100n, () => {
    asked += 1;
    return { kind: asked < 4 ? 'pending' : 'equal' };
  });
  await admitted(t, watched);
  t.equal(watched.compared.length, 4);
});

void test('a position that the sequencer does not serve is not waited for without end', async (t) => {
  const watched = open({ heads: [40n, 40n, 5_000n], absent: [100n] }, 100n);
  await admitted(t, watched);
  t.same(watched.forks, []);
  t.match(watched.lines.at(-1), /does not serve the tick there/);
});

void test('a server behind the one that streams is compared and not waited for', async (t) => {
  const same = open({ heads: [40n] }, 100n);
  await same.catchUp.lookBeside(same.server, 40n, 100n);
  t.same([same.compared, same.forks], [[40n], []]);
  const other = open({ heads: [40n] }, 100n, () => ({ kind: 'different', detail: 'differs in output' }));
  await other.catchUp.lookBeside(other.server, 40n, 100n);
  t.equal(other.forks.length, 1);
});
