import assert from 'node:assert/strict';
import { test } from 'tap';
import { runCommand } from '../../../support/run/command.ts';
import { deadLetters, digest } from '../../../support/chain/dead-letters.ts';
import { allTicks, chainSpec, type ChainSpec } from '../../../support/chain/content/expected.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { withIngester, type IngestHarness } from '../../../support/chain/harness.ts';
import { until } from '../../../support/until.ts';
import { malformed, wireTick } from '../../../support/chain/content/wire.ts';
import { isUnnumbered, REASONS } from '../../../support/chain/wire-faults.ts';

const CLOCK_HOOK = new URL('../../../support/run/clock-hook.mjs', import.meta.url).href;

/** What the stream carried in the place of which tick. */
function sentForms(harness: IngestHarness): Map<bigint, string> {
  const forms = new Map<bigint, string>();
  for (const { event, kind, tick, form } of harness.sim.log()) {
    if (event === 'fault' && kind === 'malformed') forms.set(BigInt(tick!), form!);
  }
  return forms;
}

/** Each bad frame is kept once, with its bytes, under its number or the one before it. */
async function assertLetters(
  harness: IngestHarness,
  forms: ReadonlyMap<bigint, string>,
  spec: ChainSpec,
  count: number,
  statusOf: (number: bigint) => string,
): Promise<void> {
  const ticks = allTicks(spec, count);
  const letters = await deadLetters(await harness.client());
  assert.equal(letters.length, forms.size);
  for (const letter of letters) {
    const hasNoNumber = letter.after_tick !== null;
    const number = hasNoNumber ? BigInt(letter.after_tick!) + 1n : BigInt(letter.tick_number!);
    const form = forms.get(number);
    assert.ok(form !== undefined, `dead letter of tick ${number}: ${letter.reason}`);
    assert.equal(letter.reason, REASONS[form], form);
    assert.equal(hasNoNumber, isUnnumbered(form), form);
    assert.equal(letter.digest, digest(malformed(ticks.get(number)!, form)), `raw bytes of ${form}`);
    assert.equal(letter.status, statusOf(number), `tick ${number}, ${form}`);
    assert.ok(letter.detail.length > 0);
  }
}

void test('ticks that cannot be stored', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());

  await t.test(
    'a malformed tick of every kind is a dead letter until GetTick brings the good one',
    async () => {
      const spec = chainSpec({ seed: 71, txs: 2 });
      const count = 1_200;
      const every = 37;
      // the cuts make the stream begin again in front of bad ticks: each is kept once all the same
      const sim = ['--fault', `malformed:${every}`, '--fault', `cut:${every}`];
      const env = { REORDER_WINDOW_TICKS: '8' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, sim, env },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilCaughtUp(daemon);
          await daemon.untilReady('ready');
          await daemon.untilMetric('tick_ingester_ticks_total', { status: 'success' }, count);
          await daemon.stop();
          const forms = sentForms(harness);
          assert.equal(forms.size, Math.floor(count / every));
          assert.deepEqual(
            [...new Set(forms.values())].sort(),
            Object.keys(REASONS).sort(),
            'every form occurred',
          );

          // GetTick was asked for each: in a gap where the number cannot be used, else in the place of the dead letter
          const isWithoutNumber = (number: bigint): boolean => isUnnumbered(forms.get(number) ?? '');
          await harness.verify({ deadLetters: 'some' });
          await assertLetters(harness, forms, spec, count, () => 'resolved');
          const client = await harness.client();
          const gaps = await client.query<{ first: string; last: string; state: string }>(
            'SELECT first_tick AS first, last_tick AS last, state FROM ingest_gaps ORDER BY first_tick',
          );
          assert.deepEqual(
            gaps.rows,
            [...forms.keys()]
              .filter(isWithoutNumber)
              .sort((a, b) => (a < b ? -1 : 1))
              .map((number) => ({ first: `${number}`, last: `${number}`, state: 'filled' })),
          );
        },
      );
    },
  );

  await t.test('a machine whose clock is wrong takes all ticks: the database says what time is', async () => {
    const startTime = `${new Date(Date.now() - 60_000).toISOString().slice(0, 19)}Z`;
    const spec = chainSpec({ seed: 75, txs: 1, startTime });
    const env = { NODE_OPTIONS: `--import=${CLOCK_HOOK}`, CLOCK_AHEAD_MS: `${-3 * 86_400_000}` };
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count: 500, env },
      async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        const line = await daemon.logged((other) => /clock of this machine differs/.test(other.msg));
        assert.equal(Math.round(Number(line['ahead_seconds']) / 60), -3 * 1440);
        const ahead = await daemon.metric('tick_ingester_clock_ahead_seconds');
        assert.equal(Math.round(ahead / 60), -3 * 1440);
        assert.ok((await daemon.metric('tick_ingester_head_lag_seconds')) < 3_600);
        const status = await runCommand('tick-ingester', ['status'], harness.environment());
        assert.match(status.stdout, /^clock +this machine is 259\d{3} s behind the database/m);
        await daemon.stop();
        await harness.verify();
      },
    );
  });

  await t.test('bad in GetTick, too: what has no number stays open, its gap as well', async () => {
    const spec = chainSpec({ seed: 74, txs: 2 });
    const count = 400;
    const sim = ['--fault', 'malformed-forever:37'];
    const env = { REORDER_WINDOW: '50ms' };
    await withIngester(
      { databaseUrl: await server.createDatabase(), spec, count, sim, env },
      async (harness) => {
        const daemon = harness.daemon();
        await harness.untilCaughtUp(daemon);
        const forms = sentForms(harness);
        const missing = [...forms.keys()].filter((number) => isUnnumbered(forms.get(number)!));
        const client = await harness.client();
        await until('each was asked for twice', async () => {
          const { rows } = await client.query(
            'SELECT 1 FROM ingest_gaps WHERE attempts >= 2 AND state = $1',
            ['open'],
          );
          return rows.length === missing.length;
        });
        assert.deepEqual((await daemon.untilReady('gap')).reasons, ['gap']);
        await daemon.stop();
        await harness.compare({ absent: (number) => forms.has(number) });
        const { openGaps } = await harness.check({ hashes: true, atRest: true });
        assert.deepEqual(
          openGaps,
          missing.map((number) => ({ first: number, last: number })),
        );
        await assertLetters(harness, forms, spec, count, () => 'open');
        const { rows } = await client.query<{ error: string }>(
          'SELECT DISTINCT last_error AS error FROM ingest_gaps ORDER BY 1',
        );
        assert.ok(
          rows.every(({ error }) => error.startsWith('GetTick answered with ')),
          JSON.stringify(rows),
        );
      },
    );
  });

  await t.test('a tick above TICK_MAX_BYTES, and one that no slab of the ring can hold', async () => {
    for (const bytes of [1_300_000, 20 * 2 ** 20]) {
      const spec = chainSpec({ seed: 72, txs: 1, oversize: { every: 150n, bytes } });
      const count = 310;
      const env = { TICK_MAX_BYTES: '1MiB' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, env },
        async (harness) => {
          const daemon = harness.daemon();
          await harness.untilCaughtUp(daemon);
          await daemon.untilMetric('tick_ingester_ticks_total', { status: 'error' }, 2);
          await daemon.stop();
          const compared = await harness.compare({ absent: (number) => number % 150n === 0n });
          assert.equal(compared.ticks, count - 2);
          await harness.check({ hashes: true, atRest: true });
          const ticks = allTicks(spec, count);
          const letters = await deadLetters(await harness.client());
          assert.deepEqual(
            letters.map(({ tick_number, reason, digest, length }) => ({
              tick_number,
              reason,
              digest,
              length,
            })),
            [150n, 300n].map((number) => {
              const raw = wireTick(ticks.get(number)!);
              return {
                tick_number: `${number}`,
                reason: 'too_large',
                digest: digest(raw),
                length: raw.length,
              };
            }),
          );
        },
      );
    }
  });

  await t.test(
    'a message above GRPC_MAX_MESSAGE_BYTES halts visibly; with a higher limit it goes on',
    async () => {
      const spec = chainSpec({ seed: 73, txs: 1, oversize: { every: 500n, bytes: 6 * 2 ** 20 } });
      const count = 700;
      const env = { TICK_MAX_BYTES: '1MiB', GRPC_MAX_MESSAGE_BYTES: '4MiB' };
      await withIngester(
        { databaseUrl: await server.createDatabase(), spec, count, env },
        async (harness) => {
          const daemon = harness.daemon();
          const { reasons } = await daemon.untilReady('poison');
          assert.deepEqual(reasons, ['poison']);
          assert.equal((await daemon.get('/health'))?.code, 200, 'it waits for an operator');
          const line = await daemon.logged(
            (line) => line.level === 'error' && /GRPC_MAX_MESSAGE_BYTES/.test(line.msg),
          );
          assert.match(JSON.stringify(line), /raise the limit/);
          const streams = harness.starts().length;
          assert.ok(streams >= 2 && streams <= 4, `it asked ${streams} times and then no more`);
          await daemon.stop();
          // grpc-js drops what arrived together with the message that is too large: it is asked for again below
          const position = (await harness.position())!;
          assert.ok(position < 500n, `position ${position}`);
          assert.equal(
            (await harness.compare({ absent: (number) => number > position })).ticks,
            Number(position),
          );

          const next = harness.daemon({ env: { GRPC_MAX_MESSAGE_BYTES: '64MiB' } });
          await harness.untilCaughtUp(next);
          await next.stop();
          await harness.compare({ absent: (number) => number === 500n });
          await harness.check({ hashes: true, atRest: true });
          assert.equal((await deadLetters(await harness.client()))[0]?.reason, 'too_large');
        },
      );
    },
  );
});
