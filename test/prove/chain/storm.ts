import assert from 'node:assert/strict';
import type { Daemon } from '../../support/chain/daemon.ts';
import type { ChainSpec } from '../../support/chain/content/expected.ts';
import type { TestPostgres } from '../../support/servers/postgres.ts';
import { withIngester, type IngestHarness } from '../../support/chain/harness.ts';
import { Trend } from '../../support/trend.ts';
import { until } from '../../support/until.ts';
import { watched } from '../../support/chain/watch.ts';
import { fateOf, isRewritten, numbersThat, simFaults, wireFaults } from '../../support/chain/wire-faults.ts';
import { FAULT_NAMES, drawFaults, type Targets } from './storm-faults.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';

export interface StormSize {
  /** it grows all the while; each tick needs a transaction, so that each kind of damage fits each tick */
  spec: ChainSpec;
  seconds: number;
}

/** What the server of this scenario needs: what it confirmed it keeps. */
export const STORM_SETTINGS = { synchronous_commit: 'on' };

const FAULTS = wireFaults({
  gap: 1990n,
  gapForever: 9970n,
  duplicate: 530n,
  swap: 3890n,
  rewrite: 1010n,
  malformed: 3970n,
  malformedForever: 14_990n,
});
const ENV = {
  // the storm sends more bad ticks than an operator would bear
  DEAD_LETTER_MAX: '1000000000',
  STALL_TIMEOUT: '2s',
  BUFFER_BYTES: `${32 * 2 ** 20}`,
};
const SAMPLE_MS = 500;
/** until the ring, the heaps and all threads have had their fill, of the whole time */
const WARM_UP_SHARE = 1 / 3;
/** below it no slope is told at all */
const TREND_SECONDS_MIN = 60;
/** only a long storm tells a slope from noise */
const SLOPE_SECONDS_MIN = 300;
const SLOPE_MIB_PER_MINUTE_MAX = 4;
const MIB = 2 ** 20;

/**
 * Random faults against two daemons, their database and their sequencer, whose stream leaves out, repeats, swaps,
 * rewrites and spoils ticks all the while. The model is checked after each of them, and everything goes on once healed.
 * P1: at the end each number is in the tables, in a dead letter or in a gap that was given up, and in one of them only.
 */
export async function survivesStorm(
  context: ScenarioContext,
  server: TestPostgres,
  { spec, seconds }: StormSize,
): Promise<Figures> {
  const options = { databaseUrl: await context.database(), spec, count: null, simProxied: true, env: ENV };
  return withIngester({ ...options, sim: simFaults(FAULTS), random: context.random }, async (harness) => {
    const targets = await openTargets(harness, server);
    const { survivor } = targets;
    await harness.untilItGoesOn(survivor);
    const memory = new Trend();
    const sampler = sampleMemory(survivor, memory);
    const done = new Map(FAULT_NAMES.map((name) => [name, 0]));
    const { steps, looks } = await watched(harness, async (watch) => {
      const endMs = performance.now() + seconds * 1000;
      let steps = 0;
      for (; performance.now() < endMs; steps++) {
        const faults = drawFaults(context.random);
        context.say(`${steps + 1}: ${faults.map(({ name }) => name).join(', ')}; ${mebibytes(memory.last)}`);
        await Promise.all(faults.map(({ strike }) => strike(targets)));
        for (const { name } of faults) done.set(name, done.get(name)! + 1);
        await harness.untilItGoesOn();
        await harness.look();
        watch.assertGood();
        assert.equal(survivor.exit, null, survivor.tail());
      }
      return { steps };
    });
    clearInterval(sampler);
    await comesToRest(harness, targets);
    const outcome = await accountFor(harness);
    return {
      ...outcome,
      steps,
      looks,
      ...Object.fromEntries([...done].filter(([, count]) => count > 0)),
      'streams opened': harness.starts().length,
      ...memoryFigures(memory, seconds),
    };
  });
}

async function openTargets(harness: IngestHarness, server: TestPostgres): Promise<Targets> {
  const [survivorProxy, victimProxy] = [await harness.openProxy(), await harness.openProxy()];
  const start = (name: string, proxy: typeof victimProxy): Daemon =>
    harness.daemon({ env: { SERVICE_NAME: name }, proxy, killableThreads: true });
  let victim = start('victim', victimProxy);
  const survivor = start('survivor', survivorProxy);
  return {
    harness,
    server,
    survivor,
    survivorProxy,
    victim: () => victim,
    victimProxy,
    restartVictim: () => (victim = start('victim', victimProxy)),
  };
}

function sampleMemory(daemon: Daemon, memory: Trend): NodeJS.Timeout {
  return setInterval(() => {
    const rss = daemon.rssBytes();
    if (rss !== null) memory.add((performance.now() - daemon.startedMs) / 1000, rss);
  }, SAMPLE_MS);
}

/** The chain stops growing, everything that exists is recorded and every gap is filled or given up; then both end. */
async function comesToRest(harness: IngestHarness, { survivor, victim }: Targets): Promise<void> {
  const head = await harness.sim.stopGrowing();
  await harness.untilPosition(head);
  let open: unknown;
  await until(
    'every gap is filled or given up',
    async () => {
      open = (await harness.look()).openGaps;
      return Array.isArray(open) && open.length === 0;
    },
    {
      deadlineMs: 120_000,
      progress: () => String(open),
      context: () => `${JSON.stringify(open, (_, value) => String(value))}\n${survivor.tail()}`,
    },
  );
  await until(
    'GetTick has brought the ticks of bad frames',
    async () =>
      (open = (await openLetters(harness)).filter((number) => fateOf(FAULTS, number) !== 'bad').length) === 0,
    {
      deadlineMs: 240_000,
      progress: () => String(open),
      context: () => `${String(open)}\n${survivor.tail()}`,
    },
  );
  await victim().stop();
  await harness.settle(survivor);
  assert.equal(harness.last, head);
}

/** Numbers that have an open dead letter, conflicts left out. */
async function openLetters(harness: IngestHarness): Promise<bigint[]> {
  const { rows } = await harness.reading((client) =>
    client.query<{ number: string }>(
      "SELECT coalesce(after_tick + 1, tick_number) AS number FROM dead_letters WHERE status = 'open' AND reason <> 'conflict'",
    ),
  );
  return rows.map(({ number }) => BigInt(number));
}

/** Every number, by what was done to it. */
async function accountFor(harness: IngestHarness): Promise<Figures> {
  const { first } = harness.spec;
  const { last } = harness;
  const client = await harness.client();
  const { rows: gaps } = await client.query<{ number: string }>(
    `SELECT generate_series(first_tick, last_tick) AS number FROM ingest_gaps WHERE state <> 'filled' ORDER BY 1`,
  );
  assert.deepEqual(
    gaps.map(({ number }) => BigInt(number)),
    numbersThat(first, last, (number) => fateOf(FAULTS, number) === 'unfillable'),
    'gaps that were given up',
  );
  const { rows: letters } = await client.query<{ number: string; reason: string; is_numbered: boolean }>(
    `SELECT coalesce(after_tick + 1, tick_number) AS number, reason, after_tick IS NULL AS is_numbered
       FROM dead_letters WHERE status = 'open' ORDER BY 1`,
  );
  const bad = new Set<bigint>();
  let conflicts = 0;
  for (const letter of letters) {
    const number = BigInt(letter.number);
    if (letter.reason === 'conflict') {
      conflicts += 1;
      assert.ok(isRewritten(FAULTS, number), `a conflict of tick ${number}`);
    } else {
      const isBad = fateOf(FAULTS, number) === 'bad' && letter.is_numbered;
      assert.ok(isBad, `an open dead letter of tick ${number}: ${letter.reason}`);
      assert.ok(!bad.has(number), `tick ${number} is a dead letter twice`);
      bad.add(number);
    }
  }
  const absent = (number: bigint): boolean => bad.has(number) || fateOf(FAULTS, number) === 'unfillable';
  const compared = await harness.compare({ absent });
  await harness.check({ hashes: true, atRest: true });
  assert.equal(compared.ticks + bad.size + gaps.length, harness.count, 'each number once');
  return {
    ticks: compared.ticks,
    'dead letters': bad.size,
    conflicts,
    'gaps given up': gaps.length,
    'gaps filled': (await client.query<{ n: string }>(FILLED_SQL)).rows[0].n,
    epochs: (await client.query<{ n: string }>(EPOCHS_SQL)).rows[0].n,
  };
}

const FILLED_SQL = `SELECT coalesce(sum(last_tick - first_tick + 1), 0) AS n FROM ingest_gaps WHERE state = 'filled'`;
const EPOCHS_SQL = 'SELECT count(DISTINCT epoch) AS n FROM ingest_ledger';

function memoryFigures(memory: Trend, seconds: number): Figures {
  const inAll = `${mebibytes(memory.last)} at the end, at most ${mebibytes(memory.highest)}`;
  if (seconds < TREND_SECONDS_MIN) return { memory: inAll };
  const slope = (memory.slopePerSecond(seconds * WARM_UP_SHARE) * 60) / MIB;
  if (seconds >= SLOPE_SECONDS_MIN) {
    assert.ok(slope < SLOPE_MIB_PER_MINUTE_MAX, `memory rises by ${slope.toFixed(2)} MiB/min`);
  }
  return { 'memory slope': `${slope.toFixed(2)} MiB/min`, memory: inAll };
}
