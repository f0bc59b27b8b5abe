/**
 * make prove-integrity: the acceptance run of chain integrity at full size. Prints one table with the figures of each
 * line of what it must show, and ends with 1 when one of them does not hold. The tests run the same scenarios small.
 *
 *   SEED=<u32>         repeats the random choices of a run
 *   ONLY=<text>        runs the scenarios whose name holds the text
 *   STORM_SECONDS=600  how long the storm lasts (make storm SECONDS=600 runs it alone)
 *   PROVE=small        the sizes of the tests, to try the run itself
 */
import { chainSpec } from '../support/chain/content/expected.ts';
import type { TestPostgres } from '../support/servers/postgres.ts';
import { wireFaults } from '../support/chain/wire-faults.ts';
import { survivesBlackHoles } from './chain/database/black-hole.ts';
import { DISK_SETTINGS, survivesFullDisk, survivesFullLogDisk } from './chain/database/disk-full.ts';
import { FROZEN_COMMIT_SETTINGS, survivesFrozenCommits } from './chain/database/frozen-commit.ts';
import { survivesKills } from './chain/process/kills.ts';
import { survivesLostCommits } from './chain/database/lost-commits.ts';
import { survivesLostTransactions } from './chain/database/outage.ts';
import { survivesRestarts } from './chain/process/restarts.ts';
import { onEmbedded, prove, sized, type Scenario } from './runner.ts';
import type { Figures, ScenarioContext } from './harness.ts';
import { survivesSequencerFaults } from './chain/sequencer-faults.ts';
import { STORM_SETTINGS, survivesStorm } from './chain/storm.ts';
import { TAKEOVER_SETTINGS, takesOver, takesOverFromCutOff } from './chain/process/takeover.ts';
import { survivesTerminations } from './chain/database/terminations.ts';
import { verifiesStored } from './chain/verify.ts';
import { survivesWireFaults } from './chain/wire.ts';

/** What the server confirmed it keeps. */
const KEEPS = { synchronous_commit: 'on' };
/** What it confirmed without waiting for its log it may lose: it writes the log late. */
const FORGETS = { ...KEEPS, wal_writer_delay: '10s', wal_writer_flush_after: '1GB', wal_buffers: '64MB' };

const growing = (seed: number): ReturnType<typeof chainSpec> =>
  chainSpec({ seed, ticksPerSecond: 2000n, hostile: true });

function scenario(
  line: string,
  name: string,
  settings: Record<string, string>,
  run: (context: ScenarioContext, server: TestPostgres) => Promise<Figures>,
): Scenario {
  return { line, name, run: () => onEmbedded({ settings }, run) };
}

function faults(): Scenario[] {
  const killed = {
    spec: chainSpec({ seed: 121, hostile: true }),
    count: sized(1_000_000, 60_000),
    kills: sized(100, 3),
  };
  const lost = {
    spec: chainSpec({ seed: 131 }),
    count: sized(200_000, 20_000),
    every: 9,
    silently: false,
    batchTicks: 200,
  };
  const disk = { spec: growing(161), rounds: sized(5, 1), fullMs: sized(5_000, 1_000) };
  const holesMs = sized([60_000, 500, 5_000, 12_000, 35_000], [3_000]);
  return [
    scenario('1', 'kill -9 at random moments', KEEPS, (context) => survivesKills(context, killed)),
    scenario('1', 'Postgres restarted, fast and immediate', KEEPS, (context, server) =>
      survivesRestarts(context, server, { spec: growing(141), restarts: sized(20, 2) }),
    ),
    scenario('1', 'every session ended every second', KEEPS, (context) =>
      survivesTerminations(context, { spec: growing(142), forMs: sized(30_000, 4_000) }),
    ),
    scenario('1', 'every 9th answer to a COMMIT dropped', KEEPS, (context) =>
      survivesLostCommits(context, lost),
    ),
    scenario('1', 'answers to COMMITs dropped, connections left open', KEEPS, (context) =>
      survivesLostCommits(context, { ...lost, count: 20_000, every: 37, silently: true }),
    ),
    scenario('1', 'a black hole in the place of the database', KEEPS, (context) =>
      survivesBlackHoles(context, { spec: growing(143), holesMs }),
    ),
    scenario('1', 'one backend stopped in its COMMIT', FROZEN_COMMIT_SETTINGS, (context) =>
      survivesFrozenCommits(context, { spec: growing(144), ways: sized(['silence', 'cut'], ['cut']) }),
    ),
    scenario('1', 'the disk full and freed', DISK_SETTINGS, (context, server) =>
      survivesFullDisk(context, server, disk),
    ),
    scenario('1', 'the disk of the server log full and freed', DISK_SETTINGS, (context, server) =>
      survivesFullLogDisk(context, server, disk),
    ),
    scenario('1', 'the sequencer frozen, replaced, cut', KEEPS, (context) =>
      survivesSequencerFaults(context, { spec: growing(145), faults: sized(200, 6) }),
    ),
    scenario('1', 'synchronous_commit=off and immediate crashes', FORGETS, (context, server) =>
      survivesLostTransactions(context, server, { spec: growing(151), crashes: sized(5, 1) }),
    ),
  ];
}

function wire(): Scenario[] {
  const spec = chainSpec({ seed: 171, txs: 1, hostile: true });
  const often = { gapForever: 2090n, rewrite: 170n, malformedForever: 2030n };
  const faults = sized(
    { ...often, gap: 130n, duplicate: 1510n, swap: 1490n, malformed: 1390n },
    { ...often, gap: 610n, duplicate: 530n, swap: 470n, malformed: 430n },
  );
  const size = { spec, count: sized(200_000, 20_100), faults: wireFaults(faults) };
  return [
    scenario('2', 'ticks left out, doubled, swapped, rewritten, malformed', KEEPS, (context) =>
      survivesWireFaults(context, size),
    ),
  ];
}

function verification(): Scenario[] {
  const fast = { spec: chainSpec({ seed: 181, hostile: true }), count: sized(1_000_000, 10_000), rounds: 20 };
  const real = {
    spec: chainSpec({ seed: 182, hostile: true, vdf: 'real' }),
    count: sized(200_000, 5_000),
    rounds: 5,
  };
  return [
    scenario('3', 'verify finds every bit that was turned over, VDF without squarings', KEEPS, (context) =>
      verifiesStored(context, fast),
    ),
    scenario('3', 'verify finds every bit that was turned over, VDF of 27 squarings', KEEPS, (context) =>
      verifiesStored(context, real),
    ),
  ];
}

function takeovers(): Scenario[] {
  const size = {
    spec: chainSpec({ seed: 161, ticksPerSecond: 2000n }),
    frozenMs: sized(30_000, 500),
    isTimed: true,
  };
  return [
    scenario('4', 'two daemons, the leader killed and frozen', TAKEOVER_SETTINGS, (context) =>
      takesOver(context, size),
    ),
    scenario('4', 'two daemons, the leader cut off', TAKEOVER_SETTINGS, (context) =>
      takesOverFromCutOff(context, size),
    ),
  ];
}

function storm(): Scenario[] {
  const given = Number(process.env['STORM_SECONDS'] ?? '');
  const size = {
    spec: chainSpec({ seed: 199, txs: 1, hostile: true, ticksPerSecond: 1500n }),
    seconds: given > 0 ? given : sized(600, 20),
  };
  return [
    scenario('5', `a storm of ${size.seconds} s`, STORM_SETTINGS, (context, server) =>
      survivesStorm(context, server, size),
    ),
  ];
}

await prove([...faults(), ...wire(), ...verification(), ...takeovers(), ...storm()]);
