import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { eventJson } from '../../../src/core/market/codec/encode.ts';
import { parseIsoMicros, systemClock } from '../../../src/core/time.ts';
import type { Random } from '../../support/random.ts';
import {
  acrossMidnight,
  arrivals,
  eventsOf,
  MIXED,
  SERIES,
  tick,
  type EventsOptions,
} from './harness/events.ts';
import { Members } from './members.ts';
import { publishAll, publishLive, type EventFile } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface BarsKillsSize {
  members: number;
  partitions: number;
  /** live: events come with the clock; file: a shuffled file is published in bursts */
  mode: 'live' | 'file';
  kills: number;
  /** of the file */
  events: number;
  /** by event time; live by the clock too */
  perSecond: number;
}

/** between two deaths */
const LIFE_MS = { least: 100, most: 1_500 };
const LATE = { ...MIXED, lateMsMax: 8_000 };

/**
 * Must show 2: members killed at random moments, each time another one perhaps. The bars are those of the oracle, nothing is
 * pending, no correction is owed, nothing became a dead letter.
 */
export function survivesKills(context: ScenarioContext, bus: BusName, size: BarsKillsSize): Promise<Figures> {
  const { partitions } = size;
  return BarsHarness.with(bus, context, { partitions, idleTimeout: '3s' }, async (harness) => {
    const ticks = harness.ticks();
    const members = await Members.start(harness, size.members, context.random.fork());
    const file = harness.events('events');
    if (size.mode === 'live') await live(harness, context, size, members, file);
    else await fromFile(harness, context, size, members, file);
    await harness.untilDone(SERIES, [...members.programs, ticks]);
    await harness.stop(...members.programs, ticks);
    const counts = await harness.equalsOracle(file);
    const letters = [...(await harness.bus.deadLetters()).values()];
    assert.deepEqual(letters, []);
    return {
      events: file.count,
      distinct: counts.distinct,
      'kill -9': members.kills,
      'taken over by others': members.takeovers,
      'stopped and started': members.stops,
      'bars equal': counts.bars,
    };
  });
}

async function live(
  harness: BarsHarness,
  context: ScenarioContext,
  { kills, perSecond }: BarsKillsSize,
  members: Members,
  file: EventFile,
): Promise<void> {
  const startMicros = systemClock.nowMicros();
  const options = { ...LATE, seed: `${context.random.seed}`, count: Infinity, startMicros, perSecond };
  let isOver = false;
  const producer = publishLive(harness.bus.bus, arrivals(options), file, () => isOver);
  // a failure shows when it is awaited
  producer.catch(() => {});
  for (let kill = 1; kill <= kills; kill += 1) {
    await delay(context.random.whole(LIFE_MS.least, LIFE_MS.most));
    await strike(members, kill);
    context.say(`${kill} of ${kills} kills; ${file.count} events`);
  }
  isOver = true;
  await producer;
}

async function fromFile(
  harness: BarsHarness,
  context: ScenarioContext,
  { kills, events, perSecond }: BarsKillsSize,
  members: Members,
  file: EventFile,
): Promise<void> {
  const path = harness.bus.file('events.ndjson');
  const startMicros = acrossMidnight({ events, perSecond });
  await writeEvents(path, { ...LATE, seed: `${context.random.seed}`, count: events, startMicros, perSecond });
  const lines = shuffled((await readFile(path, 'utf8')).trimEnd().split('\n'), context.random.fork());
  const burst = Math.ceil(lines.length / (kills + 1));
  for (let kill = 0; kill <= kills; kill += 1) {
    const part = lines.slice(kill * burst, (kill + 1) * burst);
    await publishAll(harness.bus.bus, part.map(parsed), file);
    if (kill === kills) return;
    await delay(context.random.whole(0, LIFE_MS.most));
    await strike(members, kill + 1);
    context.say(`${kill + 1} of ${kills} kills; ${file.count} of ${lines.length} events`);
  }
}

/** A death, and after each third one a member that ends in good order. */
async function strike(members: Members, kill: number): Promise<void> {
  await members.killOne();
  if (kill % 3 === 0) await members.stopOne();
}

async function writeEvents(path: string, options: EventsOptions): Promise<void> {
  const lines = [...eventsOf(arrivals(options))].map(eventJson);
  await writeFile(path, `${lines.join('\n')}\n`);
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at -= 1) {
    const other = random.whole(0, at);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}

/** Of a line of the file. */
function parsed(line: string): ReturnType<typeof tick> {
  const { provider, symbol, src_ts, seq, price, size } = JSON.parse(line) as {
    provider: string;
    symbol: string;
    src_ts: string;
    seq: number | string;
    price: number;
    size?: number;
  };
  return tick({
    provider,
    symbol,
    srcTs: parseIsoMicros(src_ts),
    seq: BigInt(seq),
    price,
    size: size ?? null,
  });
}
