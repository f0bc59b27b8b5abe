import assert from 'node:assert/strict';
import { test } from 'tap';
import { REWRITE_BACK } from '../../../../src/sim/fault.ts';
import { digest } from '../../../support/chain/dead-letters.ts';
import { allTicks, chainSpec } from '../../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { runCommand } from '../../../support/run/command.ts';
import { until } from '../../../support/until.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';

void test('ticks that come again', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('equal ones are counted; others become conflicts with both digests', async () => {
    const spec = chainSpec({ seed: 84, hostile: true });
    const count = 6_000;
    const sim = ['duplicate:7', 'rewrite:101'].flatMap((fault) => ['--fault', fault]);
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      const rewritten: bigint[] = [];
      for (let number = 101n; number <= harness.last; number += 101n) rewritten.push(number - REWRITE_BACK);
      await daemon.untilMetric('tick_ingester_conflicts_total', {}, rewritten.length);
      await daemon.untilMetric('tick_ingester_duplicates_total', { cause: 'stream' }, Math.floor(count / 7));
      await daemon.untilReady('ready');
      await daemon.stop();

      const { ticks: stored } = await harness.verify({ deadLetters: 'some' });
      assert.equal(stored, count, 'the stored rows stay as they came first');
      const { rows } = await (
        await harness.client()
      ).query<
        Record<'tick_number' | 'reason' | 'detail', string> &
          Record<'raw' | 'raw_sha256' | 'stored_sha256', Buffer>
      >(
        'SELECT tick_number, reason, detail, raw, raw_sha256, stored_sha256 FROM dead_letters ORDER BY tick_number',
      );
      assert.deepEqual(
        rows.map((row) => BigInt(row.tick_number)),
        rewritten,
      );
      const ticks = allTicks(spec, count);
      for (const row of rows) {
        const stored = ticks.get(BigInt(row.tick_number))!;
        assert.equal(row.reason, 'conflict');
        assert.equal(row.stored_sha256.toString('hex'), digest(wireTick(stored)), 'digest of what is stored');
        assert.equal(row.raw_sha256.toString('hex'), digest(row.raw));
        assert.ok(row.raw.includes('rewritten'), 'the bytes of the other one');
        assert.match(
          row.detail,
          new RegExp(
            `received ${digest(row.raw)}, stored ${digest(wireTick(stored))}; differs in .*timestamp`,
          ),
        );
      }
    });
  });

  await t.test('a chain that forks halts, until an operator accepts it', async () => {
    const spec = chainSpec({ seed: 85, txs: 1 });
    const count = 4_000;
    const sim = ['--fault', 'fork:2000:100'];
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      const { reasons } = await daemon.untilReady('forked');
      assert.deepEqual(reasons, ['forked']);
      assert.equal((await daemon.get('/health'))?.code, 200, 'it waits for an operator');
      const client = await harness.client();
      await until('the halt is recorded', async () => {
        const { rows } = await client.query('SELECT halt FROM ingest_state');
        return rows[0]?.halt === 'forked';
      });
      assert.equal(await daemon.metric('tick_ingester_halted', { halt: 'forked' }), 1);
      const position = await harness.position();
      assert.ok(position !== null && position < 2000n, `position ${position}`);
      await harness.compare({ absent: (number) => number > position });
      await daemon.stop();

      const restarted = harness.daemon();
      assert.deepEqual((await restarted.untilReady('forked')).reasons, ['forked'], 'also after a restart');
      const wrong = await runCommand(
        'tick-ingester',
        ['resume', '--accept', 'poison'],
        harness.environment(),
      );
      assert.equal(wrong.code, 1);
      assert.match(wrong.stderr, /halted as forked .*--accept forked/);
      const streams = harness.starts().length;
      const accepted = await runCommand(
        'tick-ingester',
        ['resume', '--accept', 'forked'],
        harness.environment(),
      );
      assert.equal(accepted.code, 0, accepted.stderr);
      assert.match(accepted.stdout, /^Accepted: .*Ingestion goes on\.$/m);
      await until('a stream is opened behind the position', () => harness.starts().length > streams);
      assert.equal(harness.starts().at(-1), position + 1n);
      assert.equal(restarted.exit, null, 'the daemon goes on by itself');
      await restarted.stop();
      await harness.compare({ absent: (number) => number > position });
    });
  });

  await t.test('a sequencer whose numbering starts again halts', async () => {
    const spec = chainSpec({ seed: 86, txs: 1 });
    const count = 3_000;
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec, count }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
    });
    await withIngester(
      { databaseUrl, spec: chainSpec({ seed: 87, txs: 1 }), count: 500 },
      async (harness) => {
        const daemon = harness.daemon();
        await daemon.untilReady('forked');
        const line = await daemon.logged((other) => /Ingestion is halted/.test(other.msg));
        assert.match(String(line['reason']), /the head of the sequencer is 500/);
        await daemon.stop();
        assert.equal(await harness.position(), 3_000n);
        const { deadLetters } = await harness.check({ atRest: true });
        assert.equal(deadLetters, 0n);
      },
    );
  });
});
