import assert from 'node:assert/strict';
import { fingerprint } from '../../../src/core/window/event-set.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { Random } from '../../../src/core/market/synthetic/random.ts';
import { eventIdOf } from '../../../src/core/market/event-id.ts';
import { partitionOf } from '../../../src/core/bus/partitions.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { mixedEvents, SERIES, type EventsSize } from './harness/events.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';

/** how far from each other two contents of a tick come, in events */
const APART = 400;
/** of a batch: small, so that the members hold neighbours at the same time */
const BATCH = 50;
const CONSUMERS = 3;
const PARTITIONS = 2;

/** Of one tick in ten another content or two, before it or behind it; a few of all these twice. */
function withContests(events: readonly TickEvent[], seed: number): TickEvent[] {
  const random = new Random(`${seed}/contests`);
  const placed = events.map((event, at) => ({ event, at }));
  events.forEach((event, at) => {
    if (random.below(10) > 0) return;
    for (let left = 1 + random.below(2); left > 0; left -= 1) {
      const other = otherContent(event, random);
      for (let copies = 1 + Number(random.below(5) === 0); copies > 0; copies -= 1)
        placed.push({ event: other, at: at + 0.5 + random.below(2 * APART) - APART });
    }
  });
  return placed.sort((a, b) => a.at - b.at).map(({ event }) => event);
}

/** Another price or size, or a quote that no bar shows. */
function otherContent(event: TickEvent, random: Random): TickEvent {
  const kind = random.below(4);
  if (kind === 0) return { ...event, bid: event.price * random.unit() };
  if (kind === 1) return { ...event, size: random.unit() };
  return { ...event, price: event.price * (0.5 + random.unit()) };
}

/**
 * Several contents of one tick, shuffled and repeated, several members of both groups, and one of the tick consumers is killed
 * on the way: which content is stored is decided by the commits, and the bars, which see another order, hold that one. A
 * record is a dead letter when its content is not the stored one, and no other record is.
 */
export function judgesContestsOnce(
  context: ScenarioContext,
  bus: BusName,
  size: EventsSize,
): Promise<Figures> {
  return BarsHarness.with(
    bus,
    context,
    { partitions: PARTITIONS, idleTimeout: '1s', batchMax: BATCH },
    async (harness) => {
      const events = withContests(mixedEvents(context.random.seed, size), context.random.seed);
      const sent: { position: string; partition: number; event: TickEvent }[] = [];
      const onBatch = (positions: readonly string[], batch: readonly TickEvent[]): void => {
        for (const [at, event] of batch.entries()) {
          const partition = partitionOf(event.symbol, PARTITIONS);
          sent.push({ position: positions[at], partition, event });
        }
      };
      const file = harness.events('events');
      await publishAll(harness.bus.bus, events, file, { onBatch });
      const batchers = [await harness.batcher('bars-1'), await harness.batcher('bars-2')];
      const consumers = Array.from({ length: CONSUMERS }, (_, at) => harness.ticks(`ticks-${at}`, BATCH));
      // what it held is stored behind what came later
      await harness.bus.untilStored(1, ...consumers);
      await consumers[0].kill();
      const members = [...batchers.map(({ program }) => program), ...consumers.slice(1)];
      await harness.untilDone(SERIES, members);
      await harness.stop(...members);

      const bars = await harness.equalsTickData();
      const stored = await storedContents(harness);
      const first = new Map<string, number>();
      const expected: string[] = [];
      for (const { position, partition, event } of sent) {
        const content = contentOf(event);
        if (!first.has(event.eventId)) first.set(event.eventId, content);
        if (stored.get(event.eventId) !== content) expected.push(`${TOPIC}:${partition}|${position}`);
      }
      assert.deepEqual([...stored.keys()].sort(), [...first.keys()].sort(), 'ticks stored');
      const letters = await harness.bus.deadLetters();
      assert.deepEqual([...letters.keys()].sort(), expected.sort(), 'dead letters');
      assert.ok([...letters.values()].every(({ reason }) => reason === 'conflict'));
      const others = [...stored].filter(([id, content]) => first.get(id) !== content).length;
      return {
        events: sent.length,
        ticks: stored.size,
        'stored is not the first on the bus': others,
        'dead letters': letters.size,
        'final bars equal to tick_data': bars,
      };
    },
  );
}

function contentOf({
  price,
  size,
  bid,
  ask,
  side,
}: Pick<TickEvent, 'price' | 'size' | 'bid' | 'ask' | 'side'>): number {
  return fingerprint(price, size, bid, ask, side === null ? 0 : side === 1 ? 1 : 2);
}

async function storedContents(harness: BarsHarness): Promise<Map<string, number>> {
  const { rows } = await harness.client.query<
    { provider: string; symbol: string; at: string; seq: string } & Pick<
      TickEvent,
      'price' | 'size' | 'bid' | 'ask'
    >
  >(
    `SELECT provider, symbol, to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, seq, price, size, bid, ask
       FROM tick_data`,
  );
  return new Map(
    rows.map(({ provider, symbol, at, seq, ...values }) => [
      eventIdOf(provider, symbol, at, BigInt(seq), null),
      contentOf({ ...values, side: null }),
    ]),
  );
}
