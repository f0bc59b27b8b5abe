import { test } from 'tap';
import { setImmediate as turn } from 'node:timers/promises';
import { EVERYTHING } from '../../../../src/serve/live/filter.ts';
import { Checkpoints } from '../../../../src/serve/live/ticks/checkpoints.ts';
import { TickSource } from '../../../../src/serve/live/ticks/source.ts';
import { NO_PROVIDERS } from '../../../../src/core/market/identity/providers.ts';
import type { StoredTick } from '../../../../src/store/live/ticks.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { TestClient } from '../../../support/live/client.ts';
import { ModelMarket } from '../../../support/live/market.ts';
import { seededRandom, type Random } from '../../../support/random.ts';
import { until } from '../../../support/until.ts';

const FROM_US = 1_750_000_000_000_000n;

function sourceOf(
  market: ModelMarket,
  random: Random,
  traits: { memoryBytes?: number; halfKeys?: number } = {},
): TickSource {
  const { bus, table } = market;
  const topic = 'mdp.events';
  const checkpoints = new Checkpoints({
    bus,
    topic,
    group: 'tick-consumer',
    snapshot: () => table.snapshot(),
  });
  const env = testEnv({ random: () => random.next() });
  return new TickSource({
    hubTools: { bus, topic, checkpoints, table, providers: NO_PROVIDERS, env, checkpointMs: 5, ...traits },
    table,
    checkpoints,
  });
}

/** What a client must have: item of each stored tick. */
function itemOf({ provider, symbol, ts, seq }: StoredTick): string {
  return `${provider}|${symbol}|${ts}|${seq}`;
}

function keyIn(data: string): string {
  const { provider, symbol, ts, seq } = JSON.parse(data) as Record<string, string>;
  const us = BigInt(Date.parse(`${ts.slice(0, 19)}Z`)) * 1000n + BigInt(ts.slice(20, 26));
  return `${provider}|${symbol}|${us}|${seq}`;
}

interface World {
  market: ModelMarket;
  random: Random;
  made: StoredTick[];
  partitions: number;
  nowUs: bigint;
}

function publishSome(world: World): void {
  const { market, random, made } = world;
  const ticks: StoredTick[] = [];
  for (let count = random.whole(1, 12); count > 0; count--) {
    const roll = random.whole(0, 99);
    if (roll < 12 && made.length > 0) {
      // a repetition, rather of the newest
      const back = random.percent(70)
        ? random.whole(1, Math.min(30, made.length))
        : random.whole(1, made.length);
      ticks.push(made[made.length - back]);
      continue;
    }
    if (roll < 15 && made.length > 0) {
      const old = random.pick(made);
      ticks.push({ ...old, price: old.price + 1 }); // a conflict: the first one stays
      continue;
    }
    if (random.percent(70)) world.nowUs += BigInt(random.whole(0, 200_000));
    const late = random.percent(8) ? BigInt(random.whole(0, 20_000_000)) : 0n;
    const tick = {
      provider: random.pick(['sim', 'ibkr']),
      symbol: random.pick(['A', 'B', 'C', 'D', 'E']),
      ts: world.nowUs - late,
      seq: BigInt(made.length),
      price: random.whole(1, 1000),
      size: 1,
      bid: null,
      ask: null,
      side: null,
    };
    ticks.push(tick);
    made.push(tick);
  }
  market.publish(ticks);
}

function consumeSome({ market, random, partitions }: World): void {
  const partition = random.whole(0, partitions - 1);
  const roll = random.whole(0, 2);
  if (roll === 0) market.begin(partition, random.whole(1, 20));
  else if (roll === 1) market.commit(partition);
  else market.acknowledge();
}

async function consumeAll({ market, partitions }: World): Promise<void> {
  await until('all is consumed', () => {
    for (let partition = 0; partition < partitions; partition++) {
      market.begin(partition, 1000);
      market.commit(partition);
      market.acknowledge();
    }
    return market.isConsumed;
  });
}

interface Traits {
  steps: number;
  cutPercent: number;
  restartPercent: number;
  slowPercent: number;
  trimPercent: number;
  memoryBytes?: number;
}

async function story(
  random: Random,
  traits: Traits,
): Promise<{ lost: string[]; twice: string[]; cuts: number; notices: number; rows: number }> {
  const partitions = random.pick([1, 1, 3]);
  const market = new ModelMarket(partitions);
  const world: World = { market, random, made: [], partitions, nowUs: FROM_US + 20_000_000n };
  const memory = traits.memoryBytes === undefined ? {} : { memoryBytes: traits.memoryBytes };
  for (let step = 0; step < 40; step++) {
    publishSome(world);
    consumeSome(world);
  }
  let source = sourceOf(market, random.fork(), memory);
  const client = new TestClient({ kind: 'time', us: FROM_US }, EVERYTHING);
  await client.connect(source);
  let cuts = 0;
  let seen = 0;
  for (let step = 0; step < traits.steps; step++) {
    if (random.percent(60)) publishSome(world);
    for (let count = random.whole(0, 3); count > 0; count--) consumeSome(world);
    if (random.percent(traits.trimPercent))
      market.trim(random.whole(0, partitions - 1), random.whole(0, 100));
    if (client.sink !== null && random.percent(traits.slowPercent))
      client.sink.isReading = !client.sink.isReading;
    for (let turns = random.whole(0, 6); turns > 0; turns--) await turn();
    if (random.percent(2)) await new Promise((resolve) => setTimeout(resolve, random.whole(1, 12)));
    if (client.notices.length > seen) {
      // told that something is missing: what came before counts no more
      seen = client.notices.length;
      await client.cut();
      await source.stop();
      return { lost: [], twice: [], cuts, notices: 1, rows: 0 };
    }
    if (random.percent(traits.cutPercent)) {
      cuts += 1;
      await client.cut();
      if (random.percent(30)) publishSome(world);
      if (random.percent(traits.restartPercent)) {
        await source.stop();
        for (let count = random.whole(0, 6); count > 0; count--) consumeSome(world);
        source = sourceOf(market, random.fork(), memory);
      }
      await client.connect(source);
    }
  }
  await consumeAll(world);
  if (client.sink !== null) {
    client.sink.isReading = true;
    client.sink.take(1_000_000);
  }
  const wanted = new Set(market.rows.filter(({ ts }) => ts >= FROM_US).map(itemOf));
  const got = (): string[] => client.events.map(({ data }) => keyIn(data));
  await until('the client has all', () => client.notices.length > 0 || got().length >= wanted.size, {
    deadlineMs: 3_000,
    progress: () => client.events.length,
  }).catch(() => {});
  await turn();
  const keys = got();
  const isTold = client.notices.length > 0;
  await client.cut();
  await source.stop();
  if (isTold) return { lost: [], twice: [], cuts, notices: 1, rows: 0 };
  const set = new Set(keys);
  const twice = keys.filter((key, at) => keys.indexOf(key) !== at);
  return { lost: [...wanted].filter((key) => !set.has(key)), twice, cuts, notices: 0, rows: wanted.size };
}

/** STORIES=500 tells more of them */
const STORIES = Number(process.env['STORIES'] ?? 4);

for (const [name, traits] of Object.entries({
  'cuts, repetitions, late ticks, conflicts': {
    steps: 120,
    cutPercent: 12,
    restartPercent: 0,
    slowPercent: 3,
    trimPercent: 0,
  },
  'restarts of the process in the middle': {
    steps: 120,
    cutPercent: 12,
    restartPercent: 50,
    slowPercent: 3,
    trimPercent: 0,
  },
  'a memory that forgets soon': {
    steps: 120,
    cutPercent: 10,
    restartPercent: 20,
    slowPercent: 6,
    trimPercent: 0,
    memoryBytes: 6_000,
  },
  'trimming of what is acknowledged': {
    steps: 120,
    cutPercent: 8,
    restartPercent: 0,
    slowPercent: 3,
    trimPercent: 8,
    memoryBytes: 20_000,
  },
  'trimming and restarts': {
    steps: 120,
    cutPercent: 8,
    restartPercent: 30,
    slowPercent: 3,
    trimPercent: 6,
    memoryBytes: 20_000,
  },
} satisfies Record<string, Traits>)) {
  void test(`history becomes live with no gap and no duplicate: ${name}`, async (t) => {
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);
    let [cuts, rows, told] = [0, 0, 0];
    for (let number = 0; number < STORIES; number++) {
      const { lost, twice, ...rest } = await story(random.fork(), traits);
      cuts += rest.cuts;
      rows += rest.rows;
      told += rest.notices;
      // what repeats a record that is trimmed cannot be recognised by a process that never saw that
      if (traits.trimPercent > 0 && traits.restartPercent > 0) twice.length = 0;
      t.same(
        { story: number, lost: lost.slice(0, 5), twice: twice.slice(0, 5) },
        { story: number, lost: [], twice: [] },
      );
      if (!t.passing()) return;
    }
    t.comment(`${cuts} cuts, ${rows} ticks, ${told} stories ended with a notice`);
    t.ok(rows > 300);
  });
}
