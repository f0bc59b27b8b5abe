import type { Delivery, OutgoingRecord, StreamBus, TopicInbox } from '../../src/bus/bus.ts';
import { INBOX, INBOX_GROUP } from '../../src/bus/bus.ts';
import { partitionOf } from '../../src/core/bus/partitions.ts';
import { until } from '../support/until.ts';
import { idsOf, insist, record, recordsOf, WAIT_MS, type BusCase } from './harness.ts';

const PARTITIONS = 3;
const KEYS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD'];

/** The records of all keys by turns, as a foreign program writes them: it knows neither event ids nor partitions. */
function foreignOf(count: number, from = 0): { key: string; text: string }[] {
  return Array.from({ length: count }, (_, at) =>
    KEYS.map((key) => ({ key, text: Buffer.from(record(key, from + at).data).toString() })),
  ).flat();
}

function outgoing({ data }: Delivery): OutgoingRecord {
  const { key, number } = JSON.parse(Buffer.from(data ?? []).toString()) as { key: string; number: number };
  return record(key, number);
}

/** Moves until somebody else did. */
export async function moveUntilReplaced(
  bus: StreamBus,
  topic: string,
  member: string,
  limit: number,
): Promise<void> {
  const inbox = await insist(() => bus.openInbox(topic, member));
  try {
    for (;;) {
      const deliveries = await insist(() => inbox.next(limit, WAIT_MS));
      const last = deliveries.at(-1);
      if (last === undefined) continue;
      const records = deliveries.map(outgoing);
      if (!(await insist(() => inbox.move(last.position, records)))) return;
    }
  } finally {
    await inbox.close();
  }
}

/** What the partitions hold by now: of every key and partition the ids, in order. */
class Partitions {
  readonly #bus: StreamBus;
  readonly #topic: string;
  readonly #after = new Map<number, string>();
  readonly #found = new Map<string, string[]>();

  constructor(bus: StreamBus, topic: string) {
    this.#bus = bus;
    this.#topic = topic;
  }

  async read(): Promise<Map<string, string[]>> {
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      const after = this.#after.get(partition) ?? null;
      const page = await insist(() => this.#bus.read(this.#topic, partition, after, 10_000));
      for (const delivery of page) {
        const name = `${outgoing(delivery).key} in ${partition}`;
        this.#found.set(name, [...(this.#found.get(name) ?? []), delivery.eventId ?? '(none)']);
      }
      if (page.length > 0) this.#after.set(partition, page.at(-1)!.position);
    }
    return this.#found;
  }

  async count(): Promise<number> {
    return [...(await this.read()).values()].flat().length;
  }
}

function expectedOf(count: number): Map<string, string[]> {
  return new Map(
    KEYS.map((key) => [`${key} in ${partitionOf(key, PARTITIONS)}`, idsOf(recordsOf(key, count))] as const),
  );
}

async function nextOf(inbox: TopicInbox, count: number, limit = 1000): Promise<Delivery[]> {
  const all: Delivery[] = [];
  await until('so many records', async () => {
    all.push(...(await inbox.next(Math.min(limit, count - all.length), WAIT_MS)));
    return all.length >= count;
  });
  return all;
}

/** The topic's own name, where its records are in several partitions. */
export const inboxCases: BusCase[] = [
  {
    name: 'what is put under the name of a topic with partitions is its inbox: moved once, in order, then trimmed',
    async run(t, harness) {
      const topic = harness.topic(PARTITIONS);
      const single = harness.topic();
      const bus = await harness.bus();
      t.equal(bus.hasInbox(single), false);
      t.equal(bus.hasInbox(topic), true);
      await harness.server.foreignMany(topic, foreignOf(20));
      // groups of the partitions are no readers of the inbox, and what was not moved is not trimmed for them
      const member = await bus.join({ topic, group: 'g', member: 'm' });
      t.same(await member.next(100, 0), []);
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      const inbox = await bus.openInbox(topic, 'a');
      const first = await nextOf(inbox, 70, 30);
      t.ok(first.every(({ partition }) => partition === INBOX));
      t.equal(await inbox.move(first[49].position, first.slice(0, 50).map(outgoing)), true);
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      t.equal(await inbox.move(first[69].position, first.slice(50).map(outgoing)), true);
      await inbox.close();
      const again = await bus.openInbox(topic, 'b');
      const rest = await nextOf(again, 50);
      t.equal(await again.move(rest.at(-1)!.position, rest.map(outgoing)), true);
      t.same(await again.next(10, 0), []);
      t.same(await new Partitions(bus, topic).read(), expectedOf(20));
      await until('all is shown as moved', async () => {
        const info = (await bus.groups(topic)).find(({ group }) => group === INBOX_GROUP);
        return info?.partition === INBOX && info.lag === 0 && info.lagMs === 0;
      });
      await harness.server.foreignMany(topic, foreignOf(1, 20));
      await bus.trim(topic, { acknowledgedMs: 0, retentionMs: 0 });
      const left = await bus.read(topic, INBOX, null, 100);
      t.equal(left.length, KEYS.length, 'what is moved is gone, what is not is there');
      t.same((await again.next(100, WAIT_MS)).length, KEYS.length, 'new ones come while it waits');
      await again.close();
      await member.leave();
    },
  },
  {
    name: 'of two that move the same records one does',
    async run(t, harness) {
      const topic = harness.topic(PARTITIONS);
      const bus = await harness.bus();
      const other = await harness.bus();
      await harness.server.foreignMany(topic, foreignOf(10));
      const frozen = await bus.openInbox(topic, 'frozen');
      const held = await nextOf(frozen, 30);
      const successor = await other.openInbox(topic, 'successor');
      const all = await nextOf(successor, 60);
      t.equal(await successor.move(all[19].position, all.slice(0, 20).map(outgoing)), true);
      t.equal(await frozen.move(held[29].position, held.map(outgoing)), false, 'it was replaced');
      t.equal(await successor.move(all[59].position, all.slice(20).map(outgoing)), true);
      t.equal(await frozen.move(held[29].position, held.map(outgoing)), false);
      t.same(await new Partitions(bus, topic).read(), expectedOf(10));
      await Promise.all([frozen.close(), successor.close()]);
    },
  },
  {
    name: 'movers that are killed, two at once, and a server that crashes move every record once and in order',
    async run(t, harness) {
      const topic = harness.topic(PARTITIONS);
      const bus = await harness.bus();
      const found = new Partitions(bus, topic);
      const rounds = 3;
      const each = 80;
      const movers = ['a', 'b'].map((member) => harness.mover({ topic, group: '', member, count: 7 }));
      for (let round = 0; round < rounds; round += 1) {
        await harness.server.foreignMany(topic, foreignOf(each, round * each));
        const target = round * each * KEYS.length + Math.floor((each * KEYS.length) / 3);
        await until('they move', async () => (await found.count()) > target);
        // in the middle of it
        await movers.shift()?.kill();
        if (round === 1) await harness.server.crash();
        movers.push(harness.mover({ topic, group: '', member: `c${round}`, count: 7 }));
      }
      const total = rounds * each * KEYS.length;
      await until('all are moved', async () => (await found.count()) >= total);
      for (const mover of movers) await mover.kill();
      const last = await bus.openInbox(topic, 'last');
      t.same(await insist(() => last.next(10, WAIT_MS)), [], 'nothing is left');
      await last.close();
      t.same(await found.read(), expectedOf(rounds * each));
    },
  },
];
