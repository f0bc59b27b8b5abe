import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'tap';
import { BusError, type GroupInfo } from '../../../../src/bus/bus.ts';
import type { Reading } from '../../../../src/serve/api/reading.ts';
import { StatusLook } from '../../../../src/serve/api/status-look.ts';

const OVERVIEW = {
  chainId: 'c',
  origin: '1',
  position: '9',
  completeUpTo: '9',
  floor: null,
  newestTimestamp: null,
  gaps: [],
  openGaps: [
    { first: '3', last: '4', attempts: 2, lastError: null, nextAttempt: '2025-10-31T10:00:00Z' },
    { first: '6', last: '6', attempts: 0, lastError: 'e', nextAttempt: null },
  ],
  deadLetters: [],
  halt: null,
  leader: null,
  edition: { edition: 'plain', postgres: '18.4', timescale: null, usable: true },
  nowMicros: 1_761_904_800_000_000n,
};
const GROUP: GroupInfo = {
  topic: 'a',
  group: 'g',
  partition: 0,
  pending: 1,
  lag: null,
  lagMs: 5,
  idleMs: null,
  members: 1,
  acknowledged: null,
};

interface Scene {
  look: StatusLook;
  /** looks at the database */
  readings: () => number;
  advance: (ms: number) => void;
}

function scene(groups: (topic: string) => Promise<GroupInfo[]>, read?: () => Promise<unknown>): Scene {
  let nowMs = 0;
  let readings = 0;
  const run = (): Promise<unknown> => {
    readings += 1;
    return (
      read?.() ??
      Promise.resolve({ overview: OVERVIEW, files: { applied: ['1'], pending: ['2'], unknown: [] } })
    );
  };
  const look = new StatusLook({
    reading: { run } as unknown as Reading,
    bus: { kind: 'kafka', groups },
    topics: ['a', 'b'],
    schema: [],
    clock: { nowMicros: () => 0n, monotonicMs: () => nowMs },
  });
  return { look, readings: () => readings, advance: (ms) => void (nowMs += ms) };
}

void test('many askers cost one look a second', async (t) => {
  const asked: string[] = [];
  const { look, readings, advance } = scene((topic) => {
    asked.push(topic);
    return Promise.resolve(topic === 'a' ? [GROUP] : []);
  });
  const items = await Promise.all(Array.from({ length: 100 }, () => look.item()));
  advance(999);
  items.push(await look.item());
  t.equal(readings(), 1);
  t.strictSame(asked, ['a', 'b']);
  t.equal(new Set(items).size, 1);
  t.match(items[0], {
    now: '2025-10-31T10:00:00.000000Z',
    position: '9',
    open_gaps: [{ next_attempt: '2025-10-31T10:00:00.000000Z' }, { next_attempt: null, last_error: 'e' }],
    schema: { applied: ['1'], behind: ['2'], unknown: [] },
    bus: {
      kind: 'kafka',
      topics: ['a', 'b'],
      groups: [
        { topic: 'a', partition: 0, pending: 1, lag: null, lag_ms: 5, idle_ms: null, acknowledged: null },
      ],
    },
    bus_error: null,
  });
  advance(1);
  await look.item();
  t.equal(readings(), 2);
});

void test('without the bus there is a word in its place', async (t) => {
  for (const kind of ['unreachable', 'full', 'refused', 'setup'] as const) {
    const { look } = scene(() => Promise.reject(new BusError(kind, 'no')));
    t.match(await look.item(), { bus: null, bus_error: kind, position: '9' }, kind);
  }
});

void test('a bus that hangs costs its time, and is asked again once it has answered', async (t) => {
  const hung = Promise.withResolvers<GroupInfo[]>();
  let asked = 0;
  const { look, advance } = scene(() => {
    asked += 1;
    return asked === 1 ? hung.promise : Promise.resolve([]);
  });
  for (const more of [0, 5_000]) {
    advance(more);
    t.match(await look.item(), { bus: null, bus_error: 'timeout' });
    t.equal(asked, 1);
  }
  hung.reject(new BusError('unreachable', 'at last'));
  await turn();
  advance(5_000);
  t.match(await look.item(), { bus: { groups: [] }, bus_error: null });
});

void test('failures are of the look that is under way, and are not kept', async (t) => {
  let fails = true;
  const { look, readings } = scene(
    () => Promise.resolve([]),
    () =>
      fails
        ? Promise.reject(new Error('away'))
        : Promise.resolve({ overview: OVERVIEW, files: { applied: [], pending: [], unknown: [] } }),
  );
  const both = await Promise.allSettled([look.item(), look.item()]);
  t.match(both, [{ status: 'rejected' }, { status: 'rejected' }]);
  t.equal(readings(), 1);
  fails = false;
  t.match(await look.item(), { position: '9' });
});

void test('a mistake of ours in asking the bus is not hidden', async (t) => {
  const { look } = scene(() => Promise.reject(new TypeError('ours')));
  await t.rejects(look.item(), { message: 'ours' });
});
