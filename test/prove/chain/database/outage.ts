import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Daemon } from '../../../support/chain/daemon.ts';
import type { ChainSpec } from '../../../support/chain/content/expected.ts';
import type { TestPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { watched } from '../../../support/chain/watch.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../../harness.ts';

export interface OutageSize {
  /** it grows by spec.ticksPerSecond while all of this happens */
  spec: ChainSpec;
  /** how long there is no database */
  outageMs: number;
}

const WENT_BACKWARDS = 'The database went backwards; reading again from its position';
/** what garbage collection and a second set of connections may add to what the full ring takes */
const RSS_SLACK_BYTES = 48 * 2 ** 20;
const SAMPLE_MS = 100;

/**
 * Must show 5: a while without a database, then one immediate stop (a crash, as far as the server's data goes). The
 * same process goes on, its memory stays level, nothing is missing.
 * @param server must keep what it confirmed (fsync and synchronous_commit on)
 */
export async function survivesOutages(
  context: ScenarioContext,
  server: TestPostgres,
  { spec, outageMs }: OutageSize,
): Promise<Figures> {
  return withIngester({ databaseUrl: await context.database(), spec, count: null }, async (harness) => {
    const daemon = harness.daemon();
    const { pid } = daemon;
    await harness.untilPosition(spec.first + spec.ticksPerSecond, daemon);

    await harness.dropClient();
    await server.halt('fast');
    const beganMs = performance.now();
    const memory = await samplesDuring(daemon, outageMs);
    await server.start();
    const outage = (performance.now() - beganMs) / 1000;
    await daemon.untilReady('ready');

    await harness.dropClient();
    await server.halt('immediate');
    await server.start();
    // everything that came to exist meanwhile, and a second more
    const { head } = (await daemon.untilReady('ready')).details;
    await harness.untilPosition(BigInt(head!) + spec.ticksPerSecond, daemon);
    assert.equal(daemon.pid, pid);
    assert.equal(daemon.exit, null, 'the same process');
    assert.deepEqual(daemon.lines(WENT_BACKWARDS), []);
    await harness.settle(daemon);
    const compared = await harness.verify();
    assert.equal(harness.starts().length, 1, 'the stream was kept open');
    return {
      ticks: compared.ticks,
      'without a database': `${outage.toFixed(1)} s`,
      'memory in its first and second half': `${mebibytes(memory.first)}, ${mebibytes(memory.second)}`,
      'memory at the end': mebibytes(memory.last),
    };
  });
}

/** Highest RSS in the two halves; /ready says `database` meanwhile, and the process lives. */
async function samplesDuring(
  daemon: Daemon,
  durationMs: number,
): Promise<{ first: number; second: number; last: number }> {
  const halves: [number[], number[]] = [[], []];
  const beganMs = performance.now();
  await daemon.untilReady('database');
  for (let elapsed = 0; elapsed < durationMs; elapsed = performance.now() - beganMs) {
    const rss = daemon.rssBytes();
    assert.ok(rss !== null, `the daemon lives\n${daemon.tail()}`);
    halves[elapsed < durationMs / 2 ? 0 : 1].push(rss);
    const health = await daemon.get('/health');
    assert.equal(health?.code, 200, 'waiting for the database is healthy');
    await delay(SAMPLE_MS);
  }
  const ready = await daemon.ready();
  assert.ok(ready?.reasons.includes('database'), `/ready says ${JSON.stringify(ready?.reasons)}`);
  assert.ok(
    halves.every((samples) => samples.length > 0),
    'the outage was long enough for samples',
  );
  const [first, second] = halves.map((samples) => Math.max(...samples));
  assert.ok(
    second <= first + RSS_SLACK_BYTES,
    `memory rose from ${mebibytes(first)} to ${mebibytes(second)}`,
  );
  return { first, second, last: halves[1].at(-1)! };
}

/** stops of the server by which nothing is lost, at most */
const IDLE_CRASHES_MAX = 5;

export interface LostTransactionsSize {
  /** it grows all the while */
  spec: ChainSpec;
  crashes: number;
}

/**
 * The server loses what it had confirmed (asynchronous commits and an immediate stop): the daemon finds out, reads
 * again from the position, and the result is the same.
 * @param server writes its log rarely enough to lose something (wal_writer_delay)
 */
export async function survivesLostTransactions(
  context: ScenarioContext,
  server: TestPostgres,
  { spec, crashes }: LostTransactionsSize,
): Promise<Figures> {
  const env = { DB_SYNCHRONOUS_COMMIT: 'off' };
  return withIngester({ databaseUrl: await context.database(), spec, count: null, env }, async (harness) => {
    const daemon = harness.daemon();
    const lost: string[] = [];
    const { looks } = await watched(harness, async () => {
      for (let tries = 0; lost.length < crashes; tries += 1) {
        assert.ok(tries < crashes + IDLE_CRASHES_MAX, 'the server loses nothing');
        const start = (await harness.position()) ?? spec.first - 1n;
        await harness.untilPosition(start + spec.ticksPerSecond, daemon);
        const before = (await harness.position())!;
        const from = daemon.log.length;
        await harness.dropClient();
        await server.halt('immediate');
        await server.start();
        // a durable commit, such as of the lease, may have been the last one before the stop: then nothing is lost
        await harness.untilPosition(before + spec.ticksPerSecond, daemon);
        await daemon.untilReady('ready');
        const found = daemon.log.slice(from).find(({ msg }) => msg === WENT_BACKWARDS);
        if (found === undefined) continue;
        await harness.compareNext();
        lost.push(`${String(found['has'])} to ${String(found['had'])}`);
        context.say(`lost by the server: positions ${lost.at(-1)}`);
      }
      return {};
    });
    await harness.settle(daemon);
    const compared = await harness.verify();
    assert.equal(daemon.lines(WENT_BACKWARDS).length, crashes, daemon.tail());
    return { ticks: compared.ticks, 'positions lost by the server': lost.join(', '), looks };
  });
}

/** Every connection is reset at random moments, whatever is under way on it. */
export async function survivesCuts(
  context: ScenarioContext,
  size: { spec: ChainSpec; count: number; cuts: number },
): Promise<Figures> {
  const { spec, count, cuts } = size;
  return withIngester(
    { databaseUrl: await context.database(), spec, count, proxied: true },
    async (harness) => {
      const daemon = harness.daemon();
      const step = Math.floor((count * 0.9) / cuts);
      let target = 0;
      for (let cut = 0; cut < cuts; cut++) {
        target += context.random.whole(1, step);
        await until(`${target} ticks written`, () => daemon.exit !== null || daemon.ticksWritten >= target, {
          pollMs: 1,
        });
        await delay(context.random.whole(0, 30));
        harness.proxy!.cutAll();
      }
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      const compared = await harness.verify();
      assert.equal(compared.ticks, count);
      assert.equal(harness.starts().length, 1, 'the stream was kept open');
      return { ticks: compared.ticks, cuts, 'connections reset': harness.proxy!.counts.cut };
    },
  );
}
