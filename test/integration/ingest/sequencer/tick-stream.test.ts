import assert from 'node:assert/strict';
import { test } from 'tap';
import { freePort } from '../../../support/servers/free-port.ts';
import { chainSpec, expectedTicks, simArguments } from '../../../support/chain/content/expected.ts';
import { compareStored } from '../../../support/chain/content/oracle.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { startSim } from '../../../support/chain/sim.ts';
import { until } from '../../../support/until.ts';

void test('a stream that misbehaves', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('nobody listens at CONTINUUM_GRPC_URL: tried again, and found once it is there', async () => {
    const port = await freePort();
    const spec = chainSpec({ seed: 81 });
    const count = 600;
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count }, async (harness) => {
      const daemon = harness.daemon({ env: { CONTINUUM_GRPC_URL: `127.0.0.1:${port}` } });
      const { reasons } = await daemon.untilReady('stream');
      assert.deepEqual(reasons, ['stream']);
      const line = await daemon.logged('Stream error (will reconnect)');
      assert.equal(line['target'], `127.0.0.1:${port}`, 'the line names the address');
      assert.ok(String(line['error']).length > 0);
      const again = await daemon.logged((other) => other.msg === line.msg && other !== line);
      assert.ok(again);
      assert.equal(daemon.exit, null);
      const late = await startSim([...simArguments(spec, count), '--listen', `127.0.0.1:${port}`], {
        from: 'dist',
      });
      try {
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        await daemon.stop();
      } finally {
        await late.stop();
      }
      await harness.verify();
    });
  });

  await t.test('cuts, swaps, duplicates and rewritten ticks: each tick once, as it came first', async () => {
    const spec = chainSpec({ seed: 82, txs: 1 });
    const count = 6_000;
    const faults = ['cut:701', 'swap:53', 'duplicate:97', 'rewrite:211'];
    const sim = faults.flatMap((fault) => ['--fault', fault]);
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      const sent = (kind: string): number => harness.sim.log().filter((event) => event.kind === kind).length;
      await until('reconnects are counted', async () => {
        return (await daemon.metric('tick_ingester_grpc_reconnects_total')) === harness.starts().length - 1;
      });
      const counted = await daemon.metric('tick_ingester_duplicates_total', { cause: 'stream' });
      // a frame that arrived after its stream was given up is nobody's
      assert.ok(counted > 0 && counted <= sent('duplicate'), `${counted} duplicates`);
      await daemon.stop();
      const compared = await harness.verify({ deadLetters: 'some' });
      assert.equal(compared.ticks, count);
      const { openGaps, deadLetters } = await harness.check({ atRest: true });
      assert.deepEqual(openGaps, [], 'a swap within the reorder window is no gap');
      assert.ok(deadLetters > 0n && deadLetters <= BigInt(sent('rewrite')), `${deadLetters} rewritten ticks`);
      const { rows } = await (await harness.client()).query('SELECT DISTINCT reason FROM dead_letters');
      assert.deepEqual(rows, [{ reason: 'conflict' }]);
    });
  });

  await t.test('missing ticks are gaps, recorded with the first batch beyond them, and shown', async () => {
    const spec = chainSpec({ seed: 83, txs: 1 });
    const count = 2_000;
    // GetTick does not answer: the gaps stay
    const sim = ['--fault', 'gap:333', '--fault', 'get-fail:333'];
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const missing = [333n, 666n, 999n, 1332n, 1665n, 1998n];
      const daemon = harness.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await harness.untilCaughtUp(daemon);
      const ready = await daemon.untilReady('gap');
      assert.equal(ready.details.open_gap_count, missing.length);
      assert.equal(ready.details.complete_up_to, '332');
      assert.equal(ready.details.position, `${count}`);
      assert.equal(daemon.lines('Gap recorded').length, missing.length);
      await daemon.stop();
      await harness.compare({ absent: (number) => missing.includes(number) });
      const { openGaps } = await harness.check({ hashes: true, atRest: true });
      assert.deepEqual(
        openGaps,
        missing.map((number) => ({ first: number, last: number })),
      );
    });
  });

  await t.test(
    'a position that the sequencer no longer serves: on from the oldest tick, the rest is a gap',
    async () => {
      const spec = chainSpec({ seed: 84 });
      const databaseUrl = await server.createDatabase();
      await withIngester({ databaseUrl, spec, count: 500 }, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.stop();
      });
      await withIngester({ databaseUrl, spec, count: 3_000, sim: ['--history', '1000'] }, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        const { details } = await daemon.untilReady('gap');
        assert.equal(details.complete_up_to, '500');
        await daemon.untilReady('ready');
        await daemon.stop();
        assert.equal(harness.starts()[0], 501n);
        await harness.compare({ absent: (number) => number > 500n && number <= 2_000n });
        const { unfillable } = await harness.check({ hashes: true, atRest: true });
        assert.deepEqual(unfillable, [{ first: 501n, last: 2_000n }]);
      });
    },
  );

  await t.test('a sequencer that comes back behind our position is waited for, and is no fork', async () => {
    const spec = chainSpec({ seed: 87, txs: 0 });
    const count = 12_000;
    const listen = ['--listen', `127.0.0.1:${await freePort()}`];
    const before = await startSim([...simArguments(spec, 9_000), ...listen], { from: 'dist' });
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count }, async (harness) => {
      const daemon = harness.daemon({ env: { CONTINUUM_GRPC_URL: before.address } });
      await harness.untilPosition(9_000n, daemon);
      await before.stop();
      const grows = ['--head', '2000', '--rate', '2500', '--limit', `${count}`];
      const behind = await startSim([...simArguments(spec, count), ...listen, ...grows], { from: 'dist' });
      try {
        assert.deepEqual((await daemon.untilReady('behind')).reasons, ['behind']);
        const line = await daemon.logged((other) => /is behind our position/.test(other.msg));
        assert.equal(String(line['position']), '9000');
        assert.equal(line['its_head_compared'], 'equal');
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        const asked = behind.log().filter(({ event, tick }) => event === 'get_tick' && tick === '9000');
        assert.ok(asked.length > 0, 'the tick at the position was compared');
        const starts = behind
          .log()
          .flatMap(({ event, start_tick }) => (event === 'stream' ? [start_tick] : []));
        assert.deepEqual(starts, ['9001'], 'no stream before that');
        await daemon.stop();
      } finally {
        await behind.stop();
      }
      await harness.verify();
    });
  });

  await t.test('a stream that is open and silent is given up and opened again', async () => {
    const spec = chainSpec({ seed: 85 });
    const count = 1_500;
    const sim = ['--fault', 'stall:700:3600000'];
    const env = { STALL_TIMEOUT: '700ms' };
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count, sim, env },
      async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        const line = await daemon.logged('Stream is open and silent; reconnecting');
        assert.equal(String(line['head']), `${count}`);
        await daemon.untilReady('ready');
        await daemon.stop();
        assert.deepEqual(harness.starts(), [1n, 700n]);
        await harness.verify();
      },
    );
  });

  await t.test(
    'a sequencer that goes silent altogether: /ready says stalled until it speaks again',
    async () => {
      const spec = chainSpec({ seed: 86 });
      const count = 1_500;
      const sim = ['--fault', 'stall-all:700:6000'];
      const env = { STALL_TIMEOUT: '700ms' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim, env },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilPosition(699n, daemon);
          await daemon.untilReady('stalled');
          assert.equal((await daemon.get('/health'))?.code, 200);
          await harness.untilCaughtUp(daemon);
          await daemon.untilReady('ready');
          await daemon.stop();
          assert.ok(harness.starts().length > 1);
          assert.deepEqual([...new Set(harness.starts())], [1n, 700n]);
          await harness.verify();
        },
      );
    },
  );

  await t.test('a quiet chain is no stall', async () => {
    const spec = chainSpec({ seed: 87 });
    const count = 800;
    const env = { STALL_TIMEOUT: '300ms' };
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, env }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      // a machine under load may have taken longer than the limit for the first ticks
      const { length: streams } = harness.starts();
      const endMs = performance.now() + 1_500;
      while (performance.now() < endMs) assert.equal((await daemon.ready())?.status, 'ready');
      await daemon.stop();
      assert.equal(harness.starts().length, streams, 'no further stream was opened');
    });
  });

  await t.test('a start at the latest tick', async () => {
    const spec = chainSpec({ seed: 88 });
    const count = 300;
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count }, async (harness) => {
      const daemon = harness.daemon({ env: { START_TICK: '0' } });
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
      assert.deepEqual(harness.starts(), [0n]);
      const { origin } = await harness.check({ atRest: true });
      assert.equal(origin, 300n);
      await compareStored(harness.databaseUrl, [...expectedTicks(spec, count)].slice(-1));
    });
  });
});
