import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { test } from 'tap';
import { sessionsGone } from '../../support/daemon.ts';
import { chainSpec } from '../../support/expected.ts';
import { startPostgres } from '../../support/postgres.ts';
import { withRig, type Rig } from '../../support/rig.ts';
import { until } from '../../support/until.ts';

interface GapRow {
  first: bigint;
  last: bigint;
  state: string;
  attempts: number;
  error: string | null;
  waits: boolean;
}

async function gapRows(client: Client): Promise<GapRow[]> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT first_tick AS first, last_tick AS last, state, attempts, last_error AS error,
       next_attempt_at IS NOT NULL AS waits FROM ingest_gaps ORDER BY first_tick`,
  );
  return rows.map(
    (row) => ({ ...row, first: BigInt(row['first']), last: BigInt(row['last']) }) as unknown as GapRow,
  );
}

const fates = (rows: readonly GapRow[]): [bigint, bigint, string][] =>
  rows.map(({ first, last, state }) => [first, last, state]);
const multiples = (of: bigint, last: bigint): bigint[] =>
  Array.from({ length: Number(last / of) }, (_, at) => BigInt(at + 1) * of);
const faults = (...texts: string[]): string[] => texts.flatMap((text) => ['--fault', text]);
/** numbers that GetTick was asked for, in order */
const asked = (rig: Rig): bigint[] =>
  rig.sim.log().flatMap((event) => (event.event === 'get_tick' ? [BigInt(event.tick!)] : []));

void test('gaps are filled', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());

  await t.test('every n-th tick left out: the gaps are exactly those, and GetTick fills them', async () => {
    const spec = chainSpec({ seed: 301, txs: 1 });
    const count = 3_000;
    const sim = faults('gap:97');
    await withRig({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (rig) => {
      const daemon = rig.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await rig.untilCaughtUp(daemon);
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
      assert.equal((await rig.verify()).ticks, count);
      assert.deepEqual(
        fates(await gapRows(await rig.client())),
        missing.map((number) => [number, number, 'filled']),
      );
      assert.deepEqual(asked(rig), missing, 'each was asked for once, the lowest first');
    });
  });

  await t.test('a long gap is read from a second stream while live ticks go on', async () => {
    const spec = chainSpec({ seed: 302, ticksPerSecond: 3_000n });
    const sim = faults('hole:2000:21999', 'gap:5003');
    await withRig({ databaseUrl: await server.createDatabase(), spec, count: null, sim }, async (rig) => {
      const daemon = rig.daemon();
      await daemon.untilReady('gap', 60_000);
      const recorded = await daemon.logged(
        ({ msg, first_tick }) => msg === 'Gap recorded' && first_tick === 2_000,
      );
      assert.equal(recorded['last_tick'], 21_999);
      const before = (await rig.position())!;
      const line = await daemon.logged(({ msg, first_tick }) => msg === 'Gap filled' && first_tick === 2_000);
      assert.equal(line['ticks'], 20_000);
      await rig.untilPosition(before + 3_000n, daemon);
      await rig.settle(daemon);
      const rows = await gapRows(await rig.client());
      // the stream may have left one out just now
      const open = rows.filter(({ state }) => state === 'open');
      await rig.verify({ absent: (number) => open.some(({ first }) => first === number) });
      assert.ok(rig.starts().includes(2_000n), 'a stream was opened at the first missing number');
      const singles = asked(rig);
      // 15009 also is left out by the second stream
      assert.deepEqual(
        singles
          .filter((number) => number >= 2_000n && number < 22_000n)
          .map(String)
          .sort(),
        ['10006', '15009', '20012', '5003'].sort(),
      );
      assert.deepEqual(
        rows
          .filter(({ first }) => first >= 2_000n && first < 22_000n)
          .map(({ first, last, state }) => [first, last, state]),
        [[2_000n, 21_999n, 'filled']],
      );
    });
  });

  await t.test(
    'what GetTick does not have is given up, over a restart, and still taken when it comes',
    async () => {
      const spec = chainSpec({ seed: 303, txs: 1 });
      const count = 2_000;
      const databaseUrl = await server.createDatabase();
      const env = { REORDER_WINDOW: '50ms' };
      const missing = [333n, 666n, 999n, 1332n, 1665n, 1998n];
      await withRig({ databaseUrl, spec, count, sim: faults('gap-forever:333'), env }, async (rig) => {
        const daemon = rig.daemon();
        await rig.untilCaughtUp(daemon);
        const ready = await daemon.untilReady('gap');
        assert.equal(ready.details.complete_up_to, '332');
        await until('an attempt is recorded', async () =>
          (await gapRows(await rig.client())).some(
            ({ attempts, error, waits }) =>
              attempts > 0 && waits && error === 'the sequencer does not have it',
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
            asked(rig).filter((one) => one === number).length,
            3,
            `${number} was asked for three times`,
          );
        const asks = asked(rig).length;
        const again = rig.daemon();
        await again.untilReady('ready');
        await again.stop();
        assert.equal(asked(rig).length, asks, 'and not again after a restart');
        await rig.compare({ absent: (number) => missing.includes(number) });
        const { openGaps } = await rig.check({ hashes: true, atRest: true });
        assert.deepEqual(openGaps, []);
        assert.deepEqual(
          fates(await gapRows(await rig.client())),
          missing.map((number) => [number, number, 'unfillable']),
        );
      });
      // a sequencer that has them: nobody asks, but a stream that begins below brings them
      await withRig(
        { databaseUrl, spec, count: count + 500, sim: faults('late:2001:1'), env },
        async (rig) => {
          const client = await rig.client();
          const daemon = rig.daemon();
          await rig.untilCaughtUp(daemon);
          await daemon.untilReady('ready');
          await daemon.stop();
          assert.equal(
            (await gapRows(client)).filter(({ state }) => state === 'unfillable').length,
            missing.length,
          );
          await rig.compare({ absent: (number) => missing.includes(number) });
        },
      );
    },
  );

  await t.test('errors, wrong answers and a sequencer that lags give up nothing', async () => {
    const spec = chainSpec({ seed: 304, txs: 1 });
    const count = 1_250;
    const sim = faults('gap:100', 'get-fail:200:2', 'get-other:300:2', 'get-late:500:2');
    await withRig({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (rig) => {
      const daemon = rig.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await rig.untilCaughtUp(daemon);
      await daemon.untilReady('ready', 60_000);
      await daemon.stop();
      await rig.verify();
      const rows = await gapRows(await rig.client());
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
    await withRig({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (rig) => {
      const daemon = rig.daemon({ env: { REORDER_WINDOW: '50ms' } });
      await rig.untilCaughtUp(daemon);
      await until(
        'all others are filled',
        async () =>
          (await gapRows(await rig.client())).filter(({ state }) => state === 'filled').length === 7,
      );
      await until('three attempts are on record', async () =>
        (await gapRows(await rig.client())).some(({ attempts }) => attempts >= 3),
      );
      const { details } = await daemon.untilReady('gap');
      assert.equal(details.complete_up_to, '399');
      assert.ok((await daemon.metric('tick_ingester_gap_requests_total', { result: 'failed' })) >= 3);
      await daemon.stop();
      const rows = await gapRows(await rig.client());
      assert.deepEqual(
        fates(rows.filter(({ state }) => state === 'open')),
        [
          [400n, 400n, 'open'],
          [800n, 800n, 'open'],
        ].slice(0, rows.filter(({ state }) => state === 'open').length),
      );
    });
  });

  await t.test('nothing is doubled when the stream sends late what is being asked for', async () => {
    const spec = chainSpec({ seed: 306, txs: 1 });
    const count = 6_000;
    const sim = faults('late:31:700', 'get-slow:40');
    await withRig({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (rig) => {
      const daemon = rig.daemon();
      await rig.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      assert.equal((await rig.verify()).ticks, count);
      assert.ok(asked(rig).length > 0);
    });
  });

  await t.test('kill -9 in the middle of filling', async () => {
    const spec = chainSpec({ seed: 307, txs: 1 });
    const count = 8_020;
    const sim = faults('hole:1000:4999', 'gap:50', 'get-slow:5');
    await withRig({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (rig) => {
      for (const filled of [200n, 2_500n, 3_500n]) {
        const daemon = rig.daemon();
        const client = await rig.client();
        await until(
          `${filled} numbers are filled`,
          async () => {
            const rows = await gapRows(client);
            const done = rows
              .filter(({ state }) => state === 'filled')
              .reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
            return done >= filled;
          },
          { pollMs: 1, context: () => daemon.state() },
        );
        daemon.kill('SIGKILL');
        await daemon.exited;
        await sessionsGone(client);
        await rig.check();
      }
      const daemon = rig.daemon();
      await rig.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      assert.equal((await rig.verify()).ticks, count);
      const rows = await gapRows(await rig.client());
      assert.ok(rows.every(({ state }) => state === 'filled'));
    });
  });

  await t.test(
    'a long gap that the sequencer has forgotten is given up without asking for each number',
    async () => {
      const spec = chainSpec({ seed: 308 });
      const databaseUrl = await server.createDatabase();
      await withRig({ databaseUrl, spec, count: 500 }, async (rig) => {
        const daemon = rig.daemon();
        await rig.untilCaughtUp(daemon);
        await daemon.stop();
      });
      await withRig({ databaseUrl, spec, count: 9_000, sim: ['--history', '1000'] }, async (rig) => {
        const daemon = rig.daemon();
        await rig.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        await daemon.stop();
        assert.deepEqual(fates(await gapRows(await rig.client())), [[501n, 8_000n, 'unfillable']]);
        assert.ok(asked(rig).length < 100, `${asked(rig).length} calls`);
      });
    },
  );
});
