import assert from 'node:assert/strict';
import { test } from 'tap';
import { verifyStored, type VerifyRun } from '../../../../src/run/verify/verify.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { openClient } from '../../../support/chain/content/oracle.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';

void test('a run of verify', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  const storeChain = async (spec: Parameters<typeof chainSpec>[0], count: number): Promise<VerifyRun> => {
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec: chainSpec(spec), count }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
    });
    return {
      databaseUrl,
      applicationName: 'verify-run-test',
      range: { first: 1n, last: BigInt(count) },
      vdf: { kind: 'all' },
      position: BigInt(count),
      threads: 2,
      progress: () => {},
    };
  };

  await t.test('goes on when its sessions are ended', async () => {
    const run = await storeChain({ seed: 85 }, 12_000);
    const client = await openClient(run.databaseUrl);
    let ended = 0;
    let pages = 0;
    const progress = (): void => {
      pages += 1;
      if (pages > 4) return;
      void client
        .query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'verify-run-test'",
        )
        .then(({ rowCount }) => (ended += rowCount ?? 0));
    };
    const report = await verifyStored({ ...run, progress });
    await client.end();
    assert.ok(ended > 0, 'sessions were ended');
    assert.deepEqual([report.ticks, report.vdfs, report.findings], [12_000, 12_000, []]);
  });

  await t.test('ends with one line when the database does not come back', async () => {
    const run = await storeChain({ seed: 86 }, 100);
    const client = await openClient(run.databaseUrl);
    await client.query('ALTER TABLE vdf_proofs RENAME COLUMN output TO gone');
    await client.end();
    await assert.rejects(verifyStored(run), /^Error: ticks 1 to 100 cannot be read: .*output.* \(42703\)$/);
    const unreachable = { ...run, databaseUrl: 'postgres://nobody:x@127.0.0.1:1/none?sslmode=disable' };
    await assert.rejects(verifyStored(unreachable), /cannot be read: .*ECONNREFUSED/);
  });

  await t.test('ticks so large that a page of them does not fit into memory', async () => {
    const run = await storeChain({ seed: 87, txs: 1, payloadBytes: 300_000 }, 260);
    const report = await verifyStored(run);
    assert.deepEqual([report.ticks, report.transactions, report.findings], [260, 260, []]);
  });
});
