import assert from 'node:assert/strict';
import { test } from 'tap';
import { runCommand } from '../../../../support/run/command.ts';
import { chainSpec, expectedTicks } from '../../../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';
import { withIngester } from '../../../../support/chain/harness.ts';
import { wireTick } from '../../../../support/chain/content/wire.ts';

function mdp(databaseUrl: string, ...args: string[]): ReturnType<typeof runCommand> {
  return runCommand('mdp', args, { DATABASE_URL: databaseUrl });
}

void test('dead letters are retried beside a running daemon', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('it goes on, and nothing is there twice', async () => {
    const oversize = { every: 450n, bytes: 70_000 };
    const spec = chainSpec({ seed: 401, txs: 1, ticksPerSecond: 500n, oversize });
    const databaseUrl = await server.createDatabase();
    const options = {
      databaseUrl,
      spec,
      count: null,
      sim: ['--fault', 'gap-forever:700'],
      env: { TICK_MAX_BYTES: '64KiB', REORDER_WINDOW: '50ms' },
    };
    await withIngester(options, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilPosition(2_200n, daemon);
      const client = await harness.client();
      const ticks = [...expectedTicks(spec, 2_200)];
      // what an earlier version could not read, of ticks that the sequencer has no more
      for (const number of [700, 1_400, 2_100]) {
        const raw = wireTick(ticks[number - 1]);
        await client.query(
          "INSERT INTO dead_letters (after_tick, reason, raw, raw_sha256) VALUES ($1, 'malformed_frame', $2, sha256($2))",
          [number - 1, raw],
        );
      }
      const incomplete = await mdp(databaseUrl, 'quality', '--to', '2200');
      assert.equal(incomplete.code, 1, incomplete.stderr);
      assert.match(incomplete.stderr, /found .*missing\.dead_letter$/m);

      const oversized = await mdp(databaseUrl, 'dlq', 'retry', '--reason', 'too_large');
      assert.equal(oversized.code, 0, oversized.stdout + oversized.stderr);
      const starts = harness.starts().length;
      const missing = await mdp(databaseUrl, 'dlq', 'retry', '--reason', 'malformed_frame');
      assert.equal(missing.code, 0, missing.stdout + missing.stderr);
      assert.match(
        missing.stdout,
        /stored: tick 2100 with 1 transactions, taken out of a gap that was (open|unfillable)\n3 stored\n/,
      );
      const complete = await mdp(databaseUrl, 'quality', '--to', '2200');
      assert.equal(complete.code, 0, complete.stdout + complete.stderr);

      // it has noticed, and begun anew where the ledger ends
      await harness.untilPosition((await harness.position())! + 1_000n, daemon);
      assert.ok(harness.starts().length > starts, 'the stream was opened again');
      await harness.settle(daemon);
      const { rows } = await client.query<{ n: string }>(
        `SELECT tick_number AS n FROM dead_letters WHERE status = 'open'
         UNION ALL SELECT generate_series(first_tick, last_tick) FROM ingest_gaps WHERE state <> 'filled'`,
      );
      // what came after the retry
      const left = new Set(rows.map(({ n }) => BigInt(n)));
      for (const number of left) {
        assert.ok(number > 2_200n && (number % 700n === 0n || number % oversize.every === 0n), `${number}`);
      }
      const absent = (number: bigint): boolean => left.has(number);
      await harness.compare({ absent });
      await harness.check({ hashes: true, atRest: true });
    });
  });
});
