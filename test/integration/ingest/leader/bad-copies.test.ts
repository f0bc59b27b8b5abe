import assert from 'node:assert/strict';
import { test } from 'tap';
import { allTicks, chainSpec, type ChainSpec } from '../../../support/chain/content/expected.ts';
import { beginChain, storeFrames } from '../../../support/chain/content/stored-chain.ts';
import { malformed, wireTick } from '../../../support/chain/content/wire.ts';
import { deadLetters, digest } from '../../../support/chain/dead-letters.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { openClient } from '../../../support/chain/content/oracle.ts';
import { runCommand } from '../../../support/run/command.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const faults = (...texts: string[]): string[] => texts.flatMap((text) => ['--fault', text]);

/** Every tick is stored, and the bad copies of these are resolved dead letters of their own reason. */
async function assertAllStored(
  harness: IngestHarness,
  copies: readonly (readonly [number: bigint, form: string, reason: string])[],
): Promise<void> {
  const { ticks } = await harness.verify({ deadLetters: 'some' });
  assert.equal(ticks, harness.count);
  const chain = allTicks(harness.spec, harness.count);
  const letters = await deadLetters(await harness.client());
  assert.deepEqual(
    letters
      .map((one) => `${one.tick_number} ${one.reason} ${one.digest} ${one.status} ${one.stored}`)
      .toSorted(),
    copies
      .map(([number, form, reason]) => {
        const raw = malformed(chain.get(number)!, form);
        return `${number} ${reason} ${digest(raw)} resolved null`;
      })
      .toSorted(),
  );
  const { rows } = await (await harness.client()).query('SELECT * FROM chain_alarms LIMIT 3');
  assert.deepEqual(rows, []);
}

async function untilNoneOpen(harness: IngestHarness): Promise<void> {
  const client = await harness.client();
  await until('no dead letter is open', async () => {
    const { rows } = await client.query("SELECT count(*)::int AS n FROM dead_letters WHERE status = 'open'");
    return rows[0].n === 0;
  });
}

const multiples = (every: bigint, { first }: ChainSpec, count: number): bigint[] => {
  const numbers: bigint[] = [];
  for (let number = every; number < first + BigInt(count); number += every) numbers.push(number);
  return numbers;
};

void test('a bad frame says nothing about its tick', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test('right before the good one on the stream: in one batch, and in two', async () => {
    const nul = 'batch_hash_not_hex';
    for (const [every, batch] of [
      [4_999n, {}],
      // the copy is the last frame of a batch, and the good one comes when that is sealed
      [50n, { BATCH_SIZE: '50', BATCH_MAX: '50', CHAIN_CHECK: 'full' }],
    ] as const) {
      const spec = chainSpec({ seed: 131, txs: 1 });
      const count = every === 50n ? 1_000 : 30_000;
      const sim = faults(`copy-before:${every}:nul`);
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim, env: batch },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilCaughtUp(daemon);
          const numbers = multiples(every, spec, count);
          await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, count);
          assert.equal(await daemon.metric('tick_ingester_ticks_total', { status: 'error' }), numbers.length);
          assert.equal(await daemon.metric('tick_ingester_conflicts_total', {}), 0);
          await daemon.untilReady('ready');
          await daemon.stop();
          await assertAllStored(
            harness,
            numbers.map((number) => [number, 'nul', nul]),
          );
          const quality = await runCommand('mdp', ['quality'], harness.environment());
          assert.equal(quality.code, 0, quality.stdout + quality.stderr);
        },
      );
    }
  });

  await t.test(
    'behind the good one, each several times: the stored one stays, and nothing halts',
    async () => {
      const spec = chainSpec({ seed: 132, txs: 1 });
      const count = 1_200;
      const sim = faults('copy-after:10:tx-hash', 'copy-before:30:nul', 'cut:400');
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilCaughtUp(daemon);
          const copies = multiples(10n, spec, count).flatMap((number) => [
            ...(number % 30n === 0n ? ([[number, 'nul', 'batch_hash_not_hex']] as const) : []),
            [number, 'tx-hash', 'tx_hash_not_hex'] as const,
          ]);
          await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, copies.length);
          await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, count);
          assert.equal(await daemon.metric('tick_ingester_conflicts_total', {}), 0);
          await daemon.untilReady('ready');
          await daemon.stop();
          await assertAllStored(harness, copies);
        },
      );
    },
  );

  await t.test('beside a tick that the database refuses', async () => {
    const spec = chainSpec({ seed: 133, txs: 2 });
    const count = 600;
    const sim = faults('copy-before:100:nul');
    const env = { BATCH_SIZE: '600', FLUSH_INTERVAL: '300ms' };
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec, count, sim, env }, async (harness) => {
      const client = await harness.client();
      // neighbours of copies, and a tick that has one
      await client.query('ALTER TABLE vdf_proofs ADD CHECK (tick_number NOT IN (99, 301, 400))');
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await until('the refused tick came twice', async () => {
        const letters = await deadLetters(client);
        return letters.filter(({ status }) => status === 'open').length === 4;
      });
      await harness.compare({ absent: (number) => [99n, 301n, 400n].includes(number) });
      await harness.check({ hashes: true });
      assert.deepEqual(
        (await deadLetters(client))
          .filter(({ status }) => status === 'open')
          .map(({ tick_number, reason }) => `${tick_number} ${reason}`)
          .sort(),
        [
          '301 refused_by_database',
          '400 batch_hash_not_hex',
          '400 refused_by_database',
          '99 refused_by_database',
        ],
      );
      // when the database takes them, GetTick brings them at the next start
      await daemon.stop();
      await client.query('ALTER TABLE vdf_proofs DROP CONSTRAINT vdf_proofs_tick_number_check');
      const next = harness.daemon();
      await untilNoneOpen(harness);
      await next.stop();
      assert.equal((await harness.verify({ deadLetters: 'some' })).ticks, count);
    });
  });

  await t.test('killed between the two, again and again: GetTick has it', async () => {
    const spec = chainSpec({ seed: 134, txs: 1 });
    const count = 2_400;
    const sim = faults('copy-before:7:nul');
    const env = { DEAD_LETTER_MAX: '100000', BATCH_SIZE: '50', BATCH_MAX: '50' };
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec, count, sim, env }, async (harness) => {
      for (const ticks of [200, 300, 400]) {
        const daemon = harness.daemon();
        await harness.untilWritten(ticks, daemon);
        daemon.kill('SIGKILL');
        await daemon.exited;
        await harness.check();
      }
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await untilNoneOpen(harness);
      await daemon.untilReady('ready');
      await daemon.stop();
      await assertAllStored(
        harness,
        multiples(7n, spec, count).map((number) => [number, 'nul', 'batch_hash_not_hex']),
      );
    });
  });

  await t.test('in the stream alone: GetTick is asked until it has a good one', async () => {
    const spec = chainSpec({ seed: 135, txs: 1 });
    const count = 500;
    const sim = faults('malformed:50:tx-hash', 'get-bad:100:2', 'get-late:150:1', 'get-fail:250:2');
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await untilNoneOpen(harness);
      await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, count);
      await daemon.stop();
      const copies = multiples(50n, spec, count).flatMap((number) => [
        ...(number % 100n === 0n ? ([[number, 'nul', 'batch_hash_not_hex']] as const) : []),
        [number, 'tx-hash', 'tx_hash_not_hex'] as const,
      ]);
      await assertAllStored(harness, copies);
    });
  });

  await t.test(
    'what a killed daemon, or an earlier version, has left is asked for at the start',
    async () => {
      const spec = chainSpec({ seed: 136, txs: 2 });
      const count = 60;
      const databaseUrl = await server.createDatabase();
      const chain = allTicks(spec, count);
      const bad = [20n, 21n, 40n, 50n];
      const client = await openClient(databaseUrl);
      await beginChain(client, spec.first);
      const frames = [...chain.values()].map((tick) => ({
        raw: bad.includes(tick.tickNumber) ? malformed(tick, 'nul') : wireTick(tick),
      }));
      await storeFrames(client, spec.first, frames.slice(0, 40));
      await storeFrames(client, spec.first + 40n, frames.slice(40, 50));
      // the good one was a conflict with the dead letter
      await client.query(
        `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256, stored_sha256)
       VALUES (20, 'conflict', $1, sha256($1), sha256($2))`,
        [wireTick(chain.get(20n)!), malformed(chain.get(20n)!, 'nul')],
      );
      await client.end();
      await withIngester({ databaseUrl, spec, count }, async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await untilNoneOpen(harness);
        await daemon.stop();
        assert.deepEqual((await harness.verify({ deadLetters: 'some' })).ticks, count);
      });
    },
  );

  await t.test('what was read before SIGTERM is stored, too', async () => {
    // it grows, so that there is always more to read
    const spec = chainSpec({ seed: 137, txs: 1, ticksPerSecond: 2_000n });
    // GetTick cannot help
    const sim = faults('copy-before:9:nul', 'get-bad:1');
    const env = { DEAD_LETTER_MAX: '100000' };
    const options = { databaseUrl: await server.createDatabase(), spec, count: null, sim, env };
    await withIngester(options, async (harness) => {
      for (const stops of [1, 2, 3]) {
        const daemon = harness.daemon();
        await harness.untilWritten(800, daemon);
        await daemon.stop();
        const letters = await deadLetters(await harness.client());
        const open = letters.filter(({ status }) => status === 'open').length;
        assert.ok(open <= stops, `${open} open: at a stop at most the last one read`);
        assert.ok(letters.length > 80 * stops);
      }
    });
  });
});
