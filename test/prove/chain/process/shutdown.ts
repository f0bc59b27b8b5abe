import assert from 'node:assert/strict';
import { sessionsGone, type Daemon } from '../../../support/chain/daemon.ts';
import { expectedTicks, type ChainSpec } from '../../../support/chain/content/expected.ts';
import { compareStored } from '../../../support/chain/content/oracle.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { seconds, type Figures, type ScenarioContext } from '../../harness.ts';

export interface ShutdownSize {
  spec: ChainSpec;
  count: number;
  /** of the connection to the database: what the daemon holds takes seconds to write */
  bytesPerSecond: number;
}

/** DRAIN_MS and CLOSE_MS of src/run/daemon.ts. */
const DRAIN_MS = 30_000;
const CLOSE_MS = 5_000;
const HELD_TICKS = 6_000;

/** The daemon has read more than it could write: the stream waits. */
async function underLoad(harness: IngestHarness, daemon: Daemon): Promise<{ highest: bigint; held: number }> {
  const ready = await until(
    'ticks are held and the stream waits',
    async () => {
      const answer = await daemon.ready();
      assert.equal(daemon.exit, null, daemon.tail());
      return answer !== null && (answer.details.ring?.ticks ?? 0) >= HELD_TICKS ? answer : null;
    },
    { context: () => daemon.tail() },
  );
  assert.ok(
    await harness.position().then((position) => position === null || position < harness.last),
    'there is more to read',
  );
  const { ticks, ticksMax } = ready.details.ring!;
  assert.ok(ticks <= ticksMax, `${ticks} ticks in a ring of ${ticksMax}`);
  return { highest: BigInt(ready.details.highest_read ?? -1), held: ticks };
}

/**
 * Must show 5: SIGTERM under load ends with 0 within the drain limit, and everything that was read is stored. The next
 * daemon need not wait for the lease and goes on where this one ended.
 */
export async function drainsOnSigterm(
  context: ScenarioContext,
  { spec, count, bytesPerSecond }: ShutdownSize,
): Promise<Figures> {
  return withIngester(
    { databaseUrl: await context.database(), spec, count, proxied: true },
    async (harness) => {
      harness.proxy!.toServer.bytesPerSecond = bytesPerSecond;
      const daemon = harness.daemon();
      const { highest, held } = await underLoad(harness, daemon);
      const beganMs = performance.now();
      daemon.kill('SIGTERM');
      assert.deepEqual(await daemon.exited, { code: 0, signal: null }, daemon.tail());
      const tookMs = performance.now() - beganMs;
      assert.ok(tookMs < DRAIN_MS, `it took ${tookMs} ms`);
      const position = (await harness.position())!;
      assert.ok(position >= highest, `position ${position}, but ${highest} had been read before the signal`);
      assert.equal(
        String(daemon.lines('Stopped')[0]?.['position']),
        `${position}`,
        'what it said at the end',
      );
      await harness.check({ atRest: true });
      await compareStored(harness.databaseUrl, expectedTicks(spec, Number(position - spec.first + 1n)));
      await sessionsGone(await harness.client());

      harness.proxy!.toServer.bytesPerSecond = 0;
      const next = harness.daemon();
      await harness.untilCaughtUp(next);
      assert.deepEqual(next.lines('Standing by: another daemon writes'), [], 'the lease was given back');
      assert.deepEqual(harness.starts(), [spec.first, position + 1n]);
      await next.stop();
      const compared = await harness.verify();
      return {
        ticks: compared.ticks,
        'held at the signal': held,
        'exit 0 after': seconds(tookMs),
        'stored beyond what was seen read': `${position - highest}`,
      };
    },
  );
}

/** A second signal ends a drain at once. */
export async function endsAtSecondSignal(
  context: ScenarioContext,
  { spec, count }: ShutdownSize,
): Promise<Figures> {
  return withIngester(
    { databaseUrl: await context.database(), spec, count, proxied: true },
    async (harness) => {
      const codes: (number | null)[] = [];
      for (const signal of ['SIGTERM', 'SIGINT'] as const) {
        harness.proxy!.heal();
        const daemon = harness.daemon();
        await underLoadBeforeABlackHole(harness, daemon);
        const before = performance.now();
        daemon.kill(signal);
        await daemon.logged('Shutting down: draining what was read');
        assert.equal(daemon.exit, null, 'it drains');
        daemon.kill(signal);
        const exit = await daemon.exited;
        assert.equal(exit.signal, null);
        assert.ok(exit.code !== 0, `exit code ${exit.code}`);
        assert.ok(performance.now() - before < DRAIN_MS, 'it did not wait for the drain');
        codes.push(exit.code);
        harness.proxy!.heal();
        harness.proxy!.cutAll();
        await sessionsGone(await harness.client());
      }
      harness.proxy!.heal();
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
      await harness.verify();
      return { 'exit codes of SIGTERM, SIGINT twice': codes.join(', ') };
    },
  );
}

/** The drain cannot end: the database no longer answers. */
async function underLoadBeforeABlackHole(harness: IngestHarness, daemon: Daemon): Promise<void> {
  harness.proxy!.toServer.bytesPerSecond = 1_000_000;
  await underLoad(harness, daemon);
  harness.proxy!.freeze();
  harness.proxy!.toServer.bytesPerSecond = 0;
}

/** Must show 5, the other end: 30 s are not enough. Nothing is lost, it is read again. */
export async function timesOutWithoutDatabase(
  context: ScenarioContext,
  { spec, count }: ShutdownSize,
): Promise<Figures> {
  return withIngester(
    { databaseUrl: await context.database(), spec, count, proxied: true },
    async (harness) => {
      const daemon = harness.daemon();
      harness.proxy!.toServer.bytesPerSecond = 1_000_000;
      const { held } = await underLoad(harness, daemon);
      harness.proxy!.refusing = true;
      harness.proxy!.cutAll();
      const beganMs = performance.now();
      daemon.kill('SIGTERM');
      assert.deepEqual(await daemon.exited, { code: 1, signal: null }, daemon.tail());
      const tookMs = performance.now() - beganMs;
      assert.equal(daemon.lines('Pipeline shutdown timed out').length, 1, daemon.tail());
      assert.ok(tookMs < DRAIN_MS + 2 * CLOSE_MS, `it took ${tookMs} ms`);
      harness.proxy!.refusing = false;
      harness.proxy!.toServer.bytesPerSecond = 0;
      await sessionsGone(await harness.client());
      const next = harness.daemon();
      await harness.untilCaughtUp(next);
      await next.stop();
      const compared = await harness.verify();
      return { ticks: compared.ticks, 'held at the signal': held, 'exit 1 after': seconds(tookMs) };
    },
  );
}
