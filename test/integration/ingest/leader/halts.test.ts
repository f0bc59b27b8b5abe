import assert from 'node:assert/strict';
import { test } from 'tap';
import { runCommand } from '../../../support/run/command.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';

void test('what only an operator decides', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test(
    'more dead letters than DEAD_LETTER_MAX halt the ingestion; accepted, it goes on',
    async () => {
      const spec = chainSpec({ seed: 88, txs: 1 });
      const count = 3_000;
      const sim = ['--fault', 'malformed-forever:10:batch-hash'];
      const env = { DEAD_LETTER_MAX: '200', BATCH_SIZE: '100', BATCH_MAX: '100' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim, env },
        async (harness) => {
          const daemon = harness.daemon();
          assert.deepEqual((await daemon.untilReady('poison')).reasons, ['poison']);
          const client = await harness.client();
          const letters = async (): Promise<number> =>
            Number((await client.query('SELECT count(*) AS n FROM dead_letters')).rows[0].n);
          const first = await letters();
          assert.ok(first > 0 && first <= 200, `${first} dead letters`);
          const status = await runCommand('tick-ingester', ['status'], harness.environment());
          assert.match(status.stdout, /halted +poison: more than 200 new dead letters in 10 minutes/);

          let rounds = 0;
          for (let before = -1n; (await harness.position()) !== harness.last; rounds += 1) {
            await daemon.untilReady('poison');
            const position = (await harness.position())!;
            assert.ok(position > before, 'each acceptance brings it further');
            before = position;
            const accepted = await runCommand(
              'tick-ingester',
              ['resume', '--accept', 'poison'],
              harness.environment(),
            );
            assert.equal(accepted.code, 0, accepted.stderr);
            await until('halted again, or done', async () => {
              if ((await harness.position()) === harness.last) return true;
              const { rows } = await client.query('SELECT halt FROM ingest_state');
              return rows[0].halt === 'poison' && (await harness.position())! > position;
            });
          }
          assert.equal(rounds, 1, 'the window begins anew with the acceptance');
          await daemon.untilReady('ready');
          await daemon.stop();
          assert.equal(await letters(), count / 10);
          await harness.compare({ absent: (number) => number % 10n === 0n });
          await harness.check({ hashes: true, atRest: true });
          const idle = await runCommand(
            'tick-ingester',
            ['resume', '--accept', 'poison'],
            harness.environment(),
          );
          assert.equal(idle.code, 1);
          assert.match(idle.stderr, /ingestion is not halted/);
        },
      );
    },
  );

  await t.test('skip: only what is missing, and only where it is in the way', async () => {
    const spec = chainSpec({ seed: 89, txs: 1 });
    const count = 1_000;
    const sim = ['--fault', 'gap-forever:400'];
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, sim }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      const skip = (tick: string): ReturnType<typeof runCommand> =>
        runCommand('tick-ingester', ['skip', '--tick', tick], harness.environment());
      for (const [tick, why] of [
        ['7', /recorded already/],
        ['0', /below the first tick/],
        ['1500', /the next tick to be read is 1001/],
        ['seven', /must be a tick number/],
      ] as const) {
        const refused = await skip(tick);
        assert.notEqual(refused.code, 0, tick);
        assert.match(refused.stderr, why);
      }
      const inGap = await skip('400');
      assert.equal(inGap.code, 0, inGap.stderr);
      assert.match(inGap.stdout, /Tick 400 is skipped; its gap is not filled any more/);
      const due = await skip('1001');
      assert.match(due.stdout, /Tick 1001 is skipped; reading goes on at 1002/);
      // it does not exist yet: the sequencer is behind our position, and no fork
      await daemon.untilReady('behind');
      await daemon.stop();
      assert.equal(await harness.position(), 1001n);
      const { rows } = await (
        await harness.client()
      ).query('SELECT first_tick::int, last_tick::int FROM ingest_gaps WHERE state = $1 ORDER BY 1', [
        'skipped',
      ]);
      assert.deepEqual(rows, [
        { first_tick: 400, last_tick: 400 },
        { first_tick: 1001, last_tick: 1001 },
      ]);
      await harness.compare({ absent: (number) => number % 400n === 0n });
    });
  });

  await t.test('a message above GRPC_MAX_MESSAGE_BYTES is named, and skipped', async () => {
    const spec = chainSpec({ seed: 90, txs: 1, oversize: { every: 500n, bytes: 6 * 2 ** 20 } });
    const count = 900;
    const env = { TICK_MAX_BYTES: '1MiB', GRPC_MAX_MESSAGE_BYTES: '4MiB' };
    await withIngester({ databaseUrl: await server.createDatabase(), spec, count, env }, async (harness) => {
      const daemon = harness.daemon();
      assert.deepEqual((await daemon.untilReady('poison')).reasons, ['poison']);
      const line = await daemon.logged((other) => other['tick'] === 500);
      assert.equal(line['to_pass_over_it'], 'tick-ingester skip --tick 500');
      await harness.untilPosition(499n, daemon);
      const skipped = await runCommand('tick-ingester', ['skip', '--tick', '500'], harness.environment());
      assert.equal(skipped.code, 0, skipped.stderr);
      await harness.untilCaughtUp(daemon);
      await daemon.untilReady('ready');
      await daemon.stop();
      await harness.compare({ absent: (number) => number === 500n });
      const { deadLetters } = await harness.check({ hashes: true, atRest: true });
      assert.equal(deadLetters, 0n);
    });
  });
});
