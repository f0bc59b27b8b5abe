import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { test } from 'tap';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';

async function alarms(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ tick_number: string; kind: string; detail: string }>(
    'SELECT tick_number, kind, detail FROM chain_alarms ORDER BY tick_number, kind',
  );
  for (const { detail } of rows) assert.ok(detail.length > 20, detail);
  return rows.map(({ tick_number: tick, kind }) => `${tick} ${kind}`);
}

const links = (...ticks: readonly number[]): string[] => ticks.map((tick) => `${tick} link`);
const untrue = (form: string, ...every: readonly number[]): string[] =>
  every.flatMap((n) => ['--fault', `untrue:${n}:${form}`]);

async function allStored(harness: IngestHarness, hashesHold = true): Promise<void> {
  const { rows } = await (await harness.client()).query<{ n: string }>('SELECT count(*) AS n FROM ticks');
  assert.equal(Number(rows[0].n), harness.count, 'whatever a tick states, it is stored');
  if (hashesHold) await harness.check({ atRest: true });
}

for (const candidate of testServers()) {
  void test(
    `the chain is checked while ticks arrive, on the ${candidate.name} server`,
    { skip: candidate.skip },
    async (t) => {
      const server = await candidate.open();
      t.after(() => server.close());

      await t.test('broken links within batches and between them', async () => {
        for (const size of ['1', '7', '250']) {
          const spec = chainSpec({ seed: 81, txs: 1 });
          const env = { BATCH_SIZE: size, BATCH_MAX: size };
          const sim = untrue('link', 35);
          const databaseUrl = await server.createDatabase();
          await withIngester({ databaseUrl, spec, count: 350, sim, env }, async (harness) => {
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            const broken = Array.from({ length: 10 }, (_, at) => 35 * (at + 1));
            assert.deepEqual(await alarms(await harness.client()), links(...broken), `batches of ${size}`);
            await daemon.untilMetric('tick_ingester_link_breaks_total', {}, 10);
            await daemon.untilMetric('tick_ingester_chain_alarms_total', { kind: 'link' }, 10);
            await daemon.stop();
            const lines = daemon.lines('Broken link in the chain');
            assert.equal(
              lines.reduce((sum, line) => sum + (line['link'] as number), 0),
              10,
            );
            assert.ok(lines.every(({ level }) => level === 'error'));
            await allStored(harness);
          });
        }
      });

      await t.test('a broken link right behind a restart', async () => {
        const spec = chainSpec({ seed: 82, txs: 1 });
        // nothing from tick 120 on until the first daemon is gone
        const sim = [...untrue('link', 120), '--fault', 'stall-all:120:4000'];
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count: 200, sim },
          async (harness) => {
            const first = harness.daemon();
            await harness.untilPosition(119n, first);
            await first.stop();
            assert.deepEqual(await alarms(await harness.client()), []);
            const second = harness.daemon();
            await harness.untilCaughtUp(second);
            await second.stop();
            assert.equal(harness.starts().at(-1), 120n);
            assert.deepEqual(await alarms(await harness.client()), links(120));
            await allStored(harness);
          },
        );
      });

      await t.test('at both sides of a gap that is filled late, and of a dead letter', async () => {
        const spec = chainSpec({ seed: 83, txs: 1 });
        // 30, 60 … come late; their links are broken, and so are those of 31, 62, 93 … to what may stand below them
        const sim = [
          '--fault',
          'swap:30',
          ...untrue('link', 30, 31),
          '--fault',
          'malformed-forever:45:batch-hash',
        ];
        const env = { REORDER_WINDOW_TICKS: '0' };
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count: 155, sim, env },
          async (harness) => {
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            await daemon.untilReady('ready');
            await daemon.stop();
            assert.deepEqual(
              await alarms(await harness.client()),
              links(30, 31, 60, 62, 93, 120, 124, 150, 155),
            );
            const { rows } = await (
              await harness.client()
            ).query("SELECT count(*)::int AS n FROM ingest_gaps WHERE state = 'filled'");
            assert.equal(rows[0].n, 5);
            await harness.check({ atRest: true });
          },
        );
      });

      await t.test('full: hashes, inputs and a sample of outputs, each by its kind', async () => {
        const spec = chainSpec({ seed: 84, txs: 2 });
        const forms = ['link', 'tx-hash', 'batch-hash', 'vdf-input', 'vdf-output'];
        const count = 1_100;
        const expected = Array.from({ length: count }, (_, at) => at + 1).flatMap((n) => {
          const form = n % 11 === 0 ? forms[(n / 11) % forms.length] : null;
          const before = (n - 1) % 11 === 0 ? forms[((n - 1) / 11) % forms.length] : null;
          const kinds: string[] = [];
          if (form === 'vdf-output' && n % 100 === 0) kinds.push('vdf_output');
          else if (form !== null && form !== 'vdf-output') kinds.push(form.replace('-', '_'));
          if (before === 'vdf-output' && n > 1) kinds.push('link');
          return kinds.sort().map((kind) => `${n} ${kind}`);
        });
        for (const [mode, wanted] of [
          ['full', expected],
          ['link', expected.filter((alarm) => alarm.endsWith(' link'))],
          ['off', []],
        ] as const) {
          const sim = ['--fault', 'untrue:11'];
          const env = { CHAIN_CHECK: mode, BATCH_SIZE: '64', BATCH_MAX: '64' };
          const databaseUrl = await server.createDatabase();
          await withIngester({ databaseUrl, spec, count, sim, env }, async (harness) => {
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            assert.deepEqual(await alarms(await harness.client()), wanted, mode);
            for (const kind of ['link', 'tx_hash', 'batch_hash', 'vdf_input', 'vdf_output']) {
              const n = wanted.filter((alarm) => alarm.endsWith(` ${kind}`)).length;
              await daemon.untilMetric('tick_ingester_chain_alarms_total', { kind }, n);
            }
            await daemon.stop();
            await allStored(harness, false);
          });
        }
      });

      await t.test('a chain of which every link is broken is stored, with one line a batch', async () => {
        const spec = chainSpec({ seed: 85, txs: 0 });
        const count = 2_000;
        const sim = untrue('link', 1);
        const env = { BATCH_SIZE: '50' };
        await withIngester(
          { databaseUrl: await server.createDatabase(), spec, count, sim, env },
          async (harness) => {
            const daemon = harness.daemon();
            await harness.untilCaughtUp(daemon);
            await daemon.stop();
            // of the first one nothing is known
            assert.equal((await alarms(await harness.client())).length, count - 1);
            assert.ok(daemon.lines('Broken link in the chain').length <= count / 50 + 1);
            await allStored(harness);
          },
        );
      });
    },
  );
}
