import assert from 'node:assert/strict';
import { test } from 'tap';
import { sessionsGone } from '../../../support/chain/daemon.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { asked, fates, faults, gapRows } from '../../../support/chain/gaps.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';

void test('gaps are filled, whatever else happens', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('a long gap is read from a second stream while live ticks go on', async () => {
    const spec = chainSpec({ seed: 302, ticksPerSecond: 3_000n });
    const sim = faults('hole:2000:21999', 'gap:5003');
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count: null, sim },
      async (harness) => {
        const daemon = harness.daemon();
        await daemon.untilReady('gap', 60_000);
        const recorded = await daemon.logged(
          ({ msg, first_tick }) => msg === 'Gap recorded' && first_tick === 2_000,
        );
        assert.equal(recorded['last_tick'], 21_999);
        const before = (await harness.position())!;
        const line = await daemon.logged(
          ({ msg, first_tick }) => msg === 'Gap filled' && first_tick === 2_000,
        );
        assert.equal(line['ticks'], 20_000);
        await harness.untilPosition(before + 3_000n, daemon);
        await harness.settle(daemon);
        const rows = await gapRows(await harness.client());
        // the stream may have left one out just now
        const open = rows.filter(({ state }) => state === 'open');
        await harness.compare({ absent: (number) => open.some(({ first }) => first === number) });
        await harness.check({ hashes: true, atRest: true });
        assert.ok(harness.starts().includes(2_000n), 'a stream was opened at the first missing number');
        const singles = asked(harness);
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
      },
    );
  });

  await t.test(
    'while the stream is cut, swaps, doubles, spoils and leaves out: nothing is missing',
    async () => {
      const spec = chainSpec({ seed: 310, txs: 1 });
      const count = 6_000;
      const sim = faults(
        'hole:2000:4999',
        'gap:97',
        'cut:701',
        'swap:53',
        'duplicate:41',
        'malformed:211:truncated',
      );
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilCaughtUp(daemon);
          await daemon.untilReady('ready');
          await daemon.stop();
          assert.equal((await harness.verify({ deadLetters: 'some' })).ticks, count);
          const { rows } = await (
            await harness.client()
          ).query("SELECT after_tick FROM dead_letters WHERE status <> 'resolved'");
          assert.deepEqual(rows, []);
        },
      );
    },
  );

  await t.test('nothing is doubled when the stream sends late what is being asked for', async () => {
    const spec = chainSpec({ seed: 306, txs: 1 });
    const count = 6_000;
    const sim = faults('late:31:700', 'get-slow:40');
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      assert.equal((await harness.verify()).ticks, count);
      assert.ok(asked(harness).length > 0);
    });
  });

  await t.test('kill -9 in the middle of filling', async () => {
    const spec = chainSpec({ seed: 307, txs: 1 });
    const count = 8_020;
    const sim = faults('hole:1000:4999', 'gap:50', 'get-slow:5');
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      for (const filled of [200n, 2_500n, 3_500n]) {
        const daemon = harness.daemon();
        const client = await harness.client();
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
        await harness.check();
      }
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      assert.equal((await harness.verify()).ticks, count);
      const rows = await gapRows(await harness.client());
      assert.ok(rows.every(({ state }) => state === 'filled'));
    });
  });

  await t.test(
    'a long gap that the sequencer has forgotten is given up without asking for each number',
    async () => {
      const spec = chainSpec({ seed: 308 });
      const databaseUrl = await server.createDatabase();
      await withIngester({ databaseUrl, spec, count: 500 }, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.stop();
      });
      await withIngester({ databaseUrl, spec, count: 9_000, sim: ['--history', '1000'] }, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        await daemon.stop();
        assert.deepEqual(fates(await gapRows(await harness.client())), [[501n, 8_000n, 'unfillable']]);
        assert.ok(asked(harness).length < 100, `${asked(harness).length} calls`);
      });
    },
  );
});
