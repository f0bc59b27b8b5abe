import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'tap';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { asked, fates, faults, gapRows, multiples } from '../../../support/chain/gaps.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('../../../../dist/run/tick-ingester.js', import.meta.url));

void test('gaps are filled', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('every n-th tick left out: the gaps are exactly those, and GetTick fills them', async () => {
    const spec = chainSpec({ seed: 301, txs: 1 });
    const count = 3_000;
    const sim = faults('gap:97');
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      const missing = multiples(97n, 3_000n);
      await until('every gap is told of', () => daemon.lines('Gap filled').length === missing.length);
      assert.equal(daemon.lines('Gap recorded').length, missing.length);
      await daemon.untilMetric('tick_ingester_gap_ticks_filled_total', {}, missing.length);
      await daemon.untilMetric('tick_ingester_gap_requests_total', { result: 'found' }, missing.length);
      await daemon.untilMetric('tick_ingester_gaps', { state: 'filled' }, missing.length);
      const { details } = await daemon.untilReady('ready');
      assert.equal(details.complete_up_to, `${count}`);
      await daemon.stop();
      assert.equal((await harness.verify()).ticks, count);
      assert.deepEqual(
        fates(await gapRows(await harness.client())),
        missing.map((number) => [number, number, 'filled']),
      );
      assert.deepEqual(asked(harness), missing, 'each was asked for once, the lowest first');
    });
  });

  await t.test('what GetTick does not have is given up, for good', async () => {
    const spec = chainSpec({ seed: 303, txs: 1 });
    const count = 2_000;
    const databaseUrl = await server.createDatabase();
    const env = { REORDER_WINDOW: '50ms' };
    const missing = [333n, 666n, 999n, 1332n, 1665n, 1998n];
    await withIngester({ databaseUrl, spec, count, sim: faults('gap-forever:333'), env }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      const ready = await daemon.untilReady('gap');
      assert.equal(ready.details.complete_up_to, '332');
      await until('an attempt is recorded', async () =>
        (await gapRows(await harness.client())).some(
          ({ attempts, error, waits }) => attempts > 0 && waits && error === 'the sequencer does not have it',
        ),
      );
      await daemon.untilReady('ready');
      const done = await daemon.ready();
      assert.equal(
        done?.details.complete_up_to,
        `${count}`,
        'what is proved not to be there holds nothing up',
      );
      assert.equal(daemon.lines('Gap given up: the sequencer does not have it').length, missing.length);
      assert.equal(daemon.lines('Gap filled').length, 0);
      await daemon.untilMetric('tick_ingester_gaps', { state: 'unfillable' }, missing.length);
      await daemon.stop();
      for (const number of missing)
        assert.equal(
          asked(harness).filter((one) => one === number).length,
          3,
          `${number} was asked for three times`,
        );
      const asks = asked(harness).length;
      const again = harness.daemon();
      await again.untilReady('ready');
      await again.stop();
      assert.equal(asked(harness).length, asks, 'and not again after a restart');
      await harness.compare({ absent: (number) => missing.includes(number) });
      const { openGaps } = await harness.check({ hashes: true, atRest: true });
      assert.deepEqual(openGaps, []);
      assert.deepEqual(
        fates(await gapRows(await harness.client())),
        missing.map((number) => [number, number, 'unfillable']),
      );
    });
  });

  await t.test('a tick that was given up and comes late is stored all the same', async () => {
    const spec = chainSpec({ seed: 309, ticksPerSecond: 2_000n });
    const sim = faults('gap-forever:3000', 'late:3000:20000');
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count: null, sim },
      async (harness) => {
        const daemon = harness.daemon();
        const late = await daemon.logged('Ticks that were given up came after all');
        const number = late['first_tick'] as number;
        assert.ok(
          daemon.log.some(({ msg, first_tick }) => msg.startsWith('Gap given up') && first_tick === number),
        );
        await harness.settle(daemon);
        const rows = await gapRows(await harness.client());
        const missing = rows.filter(({ state }) => state !== 'filled').map(({ first }) => first);
        await harness.compare({ absent: (one) => missing.includes(one) });
        await harness.check({ hashes: true, atRest: true });
        assert.equal(rows.find(({ first }) => first === BigInt(number))?.state, 'filled');
        assert.ok(missing.every((one) => one % 3_000n === 0n));
      },
    );
  });

  await t.test('errors, wrong answers and a sequencer that lags give up nothing', async () => {
    const spec = chainSpec({ seed: 304, txs: 1 });
    const count = 1_250;
    const sim = faults('gap:100', 'get-fail:200:2', 'get-other:300:2', 'get-late:500:2');
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready', 60_000);
      await daemon.stop();
      await harness.verify();
      const rows = await gapRows(await harness.client());
      assert.deepEqual(
        fates(rows),
        multiples(100n, 1_250n).map((number) => [number, number, 'filled']),
      );
      const errorOf = (number: bigint): string | null => rows.find(({ first }) => first === number)!.error;
      assert.equal(errorOf(100n), null);
      assert.match(errorOf(200n)!, /GetTick of 200 fails/);
      assert.equal(errorOf(300n), 'GetTick answered with tick 301');
      assert.equal(errorOf(500n), 'the sequencer does not have it');
    });
  });

  await t.test('a call that always fails leaves its gap open and holds up no other one', async () => {
    const spec = chainSpec({ seed: 305, txs: 1 });
    const count = 950;
    const sim = faults('gap:100', 'get-fail:400');
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await harness.untilCaughtUp(daemon);
      await until(
        'all others are filled',
        async () =>
          (await gapRows(await harness.client())).filter(({ state }) => state === 'filled').length === 7,
      );
      await until('three attempts are on record', async () =>
        (await gapRows(await harness.client())).some(({ attempts }) => attempts >= 3),
      );
      const { details } = await daemon.untilReady('gap');
      assert.equal(details.complete_up_to, '399');
      assert.ok((await daemon.metric('tick_ingester_gap_requests_total', { result: 'failed' })) >= 3);
      const status = await run(process.execPath, [PROGRAM, 'status'], {
        env: { DATABASE_URL: harness.databaseUrl, CONTINUUM_GRPC_URL: harness.sim.address },
      });
      assert.match(
        status.stdout,
        /open 400\.\.400, tried in vain \d+ times: .*GetTick of 400 fails \(again at 20\S+Z\)/,
      );
      await daemon.stop();
      const rows = await gapRows(await harness.client());
      assert.deepEqual(
        fates(rows.filter(({ state }) => state === 'open')),
        [
          [400n, 400n, 'open'],
          [800n, 800n, 'open'],
        ].slice(0, rows.filter(({ state }) => state === 'open').length),
      );
    });
  });
});
