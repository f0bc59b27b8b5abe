import { setTimeout as delay } from 'node:timers/promises';
import type { Delivery, GroupMember, StreamBus } from '../../src/bus/bus.ts';
import { systemClock } from '../../src/core/time.ts';
import { until } from '../support/until.ts';
import {
  collect,
  idsOf,
  insist,
  pendingOf,
  recordsOf,
  sorted,
  TAKEOVER_MS,
  WAIT_MS,
  type BusCase,
  type BusHarness,
} from './harness.ts';

const BATCHES = 60;
const BATCH = 25;
const TOTAL = BATCHES * BATCH;
const FROZEN_MS = 3000;

interface Traffic {
  topic: string;
  bus: StreamBus;
  member: GroupMember;
  seen: Delivery[];
  /** resolves when everything was published and has been acknowledged */
  done: Promise<void>;
  /** resolves when so many different ones have been seen */
  reached(count: number): Promise<void>;
}

/** One publisher and one member at work, both insisting. */
async function traffic(harness: BusHarness): Promise<Traffic> {
  const topic = harness.topic();
  const publisher = await harness.bus();
  const bus = await harness.bus();
  const member = await bus.join({ topic, group: 'g', member: 'm', takeoverMs: TAKEOVER_MS });
  const seen: Delivery[] = [];
  const publish = async (): Promise<void> => {
    for (let batch = 0; batch < BATCHES; batch++) {
      await insist(() => publisher.publish(topic, recordsOf('A', BATCH, batch * BATCH)));
      await delay(5); // spread out, so that the blow falls in the middle
    }
  };
  const consuming = collect(member, (ids) => ids.size === TOTAL, { limit: 40, into: seen });
  const done = Promise.all([publish(), consuming]).then(() => {});
  done.catch(() => {}); // awaited at the end of the case
  const reached = async (count: number): Promise<void> => {
    await until(`${count} seen`, () => new Set(idsOf(seen)).size >= count, {
      progress: () => seen.length,
    });
  };
  return { topic, bus, member, seen, done, reached };
}

async function settle(t: { same: (a: unknown, b: unknown, m: string) => void }, run: Traffic): Promise<void> {
  await run.done;
  const all = idsOf(recordsOf('A', TOTAL));
  t.same(sorted(idsOf(run.seen)), sorted(all), 'nothing is lost');
  const stored: string[] = [];
  let after: string | null = null;
  do {
    const from: string | null = after;
    const page: Delivery[] = await insist(() => run.bus.read(run.topic, 0, from, 500));
    stored.push(...idsOf(page));
    after = page.at(-1)?.position ?? null;
  } while (after !== null);
  t.same([...new Set(stored)], all, 'what was sent again lies behind what it repeats');
  await until('pending 0', async () => {
    // what was handed out in an answer that never came is still to be taken
    await insist(async () => run.member.acknowledge(await run.member.next(100, 100)));
    return (await pendingOf(run.bus, run.topic, 'g')) === 0;
  });
}

/** The server goes away and comes back, members are killed. */
export const failureCases: BusCase[] = [
  {
    name: 'members are killed in the middle of their work: nothing is lost, nothing pending is left',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const seen = new Set<string>();
      const note = (ids: readonly string[]): void => {
        for (const id of ids) seen.add(id);
      };
      let published = 0;
      const publishing = (async () => {
        for (; published < TOTAL; published += BATCH) {
          await bus.publish(topic, recordsOf('A', BATCH, published));
          // never far ahead of those that are to be killed while there is work
          await until('the members follow', () => published - seen.size < TOTAL / 6);
        }
      })();
      for (const [at, member] of ['w1', 'w2', 'w1', 'w3', 'w1'].entries()) {
        const worker = harness.worker({ topic, group: 'g', member, count: 20 }, note);
        const goal = ((at + 1) * TOTAL) / 10;
        await until(`${goal} seen`, () => seen.size >= goal, { progress: () => seen.size });
        await worker.kill();
      }
      const last = await bus.join({ topic, group: 'g', member: 'last', takeoverMs: TAKEOVER_MS });
      await until(
        'the rest',
        async () => {
          const batch = await last.next(100, WAIT_MS);
          note(idsOf(batch));
          await last.acknowledge(batch);
          return seen.size === TOTAL && (await pendingOf(bus, topic, 'g')) === 0;
        },
        { pollMs: 0, progress: () => seen.size },
      );
      await publishing;
      t.same(sorted(seen), sorted(idsOf(recordsOf('A', TOTAL))));
    },
  },
  {
    name: 'the server crashes twice while records are published and consumed',
    async run(t, harness) {
      const run = await traffic(harness);
      await run.reached(TOTAL / 4);
      await harness.server.crash();
      await run.reached(TOTAL / 2);
      await harness.server.crash();
      await settle(t, run);
    },
  },
  {
    name: 'connections are cut again and again',
    async run(t, harness) {
      const run = await traffic(harness);
      for (let cut = 1; cut <= 5; cut++) {
        await run.reached((TOTAL * cut) / 8);
        await harness.server.cutConnections();
      }
      await settle(t, run);
    },
  },
  {
    name: `the server stands still for ${FROZEN_MS / 1000} s`,
    async run(t, harness) {
      const run = await traffic(harness);
      await run.reached(TOTAL / 3);
      harness.server.freeze();
      try {
        await delay(FROZEN_MS);
      } finally {
        harness.server.thaw();
      }
      await settle(t, run);
    },
  },
  {
    name: 'a reader does not take the silence of the server for a partition without records',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 3));
      const reader = await bus.openPartition({ topic, group: 'g', member: 'm', partition: 0, after: null });
      const read: Delivery[] = [];
      const look = async (): Promise<void> => void read.push(...(await reader.next(10, 100)));
      const begunMs = systemClock.monotonicMs();
      await until('it is empty as of now', async () => {
        await insist(look);
        return reader.emptyAsOfMs > begunMs;
      });
      t.same(idsOf(read), idsOf(recordsOf('A', 3)));
      harness.server.freeze();
      try {
        // a signal takes its time
        await delay(200);
        const frozenMs = systemClock.monotonicMs();
        while (systemClock.monotonicMs() - frozenMs < FROZEN_MS) await look().catch(() => delay(50));
        t.ok(reader.emptyAsOfMs <= frozenMs, 'nothing was said while it stood still');
      } finally {
        harness.server.thaw();
      }
      await bus.publish(topic, recordsOf('A', 1, 3));
      await until('the next one is read', async () => {
        await insist(look);
        return read.length > 3;
      });
      await reader.close();
    },
  },
  {
    name: 'a living member is not taken for dead because the server stood still',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const other = await harness.bus();
      await bus.publish(topic, recordsOf('A', 10));
      const slow = await bus.join({ topic, group: 'g', member: 'slow', takeoverMs: TAKEOVER_MS });
      const { all } = await collect(slow, (ids) => ids.size === 10, { acknowledge: false });
      const busy = await other.join({ topic, group: 'g', member: 'busy', takeoverMs: TAKEOVER_MS });
      await busy.next(1, 0);
      harness.server.freeze();
      try {
        await delay(FROZEN_MS);
      } finally {
        harness.server.thaw();
      }
      const robbed: string[] = [];
      const endMs = Date.now() + TAKEOVER_MS * 2;
      while (Date.now() < endMs) robbed.push(...idsOf(await insist(() => busy.next(100, 200))));
      t.same(robbed, []);
      await insist(() => slow.acknowledge(all));
    },
  },
  {
    name: 'what publish() resolved for is there after a crash',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      const positions = await bus.publish(topic, recordsOf('A', 500));
      await harness.server.crash();
      const read = await insist(() => bus.read(topic, 0, null, 1000));
      t.same(idsOf(read), idsOf(recordsOf('A', 500)));
      t.same(
        read.map(({ position }) => position),
        positions,
        'where it was',
      );
      t.equal(await insist(() => bus.end(topic, 0)), positions.at(-1));
    },
  },
  {
    name: 'groups, pending records and positions survive a crash',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 60));
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      const { all } = await collect(member, (ids) => ids.size === 40, { limit: 40, acknowledge: false });
      await member.acknowledge(all.slice(0, 20));
      await harness.server.crash();
      const { ids } = await collect(member, (seen) => seen.has('A|59'));
      t.ok(!ids.includes('A|0'), 'what was acknowledged before it does not come again');
      await insist(() => member.acknowledge(all));
      const restarted = await harness.bus();
      await insist(() => member.leave());
      const again = await restarted.join({ topic, group: 'g', member: 'm' });
      const rest = await collect(again, () => true);
      t.same(
        [...idsOf(all), ...ids, ...rest.ids].filter((id, at, whole) => whole.indexOf(id) === at).length,
        60,
      );
      await until('pending 0', async () => {
        await again.acknowledge(await again.next(100, 100));
        return (await pendingOf(restarted, topic, 'g')) === 0;
      });
    },
  },
  {
    name: 'a server that is not there is an error that passes',
    async run(t, harness) {
      const topic = harness.topic();
      const bus = await harness.bus();
      await bus.publish(topic, recordsOf('A', 1));
      harness.server.freeze();
      const publishing = insist(() => bus.publish(topic, recordsOf('A', 1, 1)));
      const reading = insist(() => bus.read(topic, 0, null, 10));
      await delay(200);
      harness.server.thaw();
      await publishing;
      t.ok((await reading).length >= 1);
    },
  },
];
