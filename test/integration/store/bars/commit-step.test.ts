import { isDeepStrictEqual } from 'node:util';
import { test, type Test } from 'tap';
import { Client } from 'pg';
import type { Step } from '../../../../src/core/window/step.ts';
import { insertBars, writeRollups } from '../../../../src/store/bars/rows.ts';
import { commitStep, type StepResult } from '../../../../src/store/bars/commit-step.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { sqlstateOf } from '../../../../src/store/postgres/sqlstate.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { oracleBars } from '../../../support/bars/oracle.ts';
import {
  barsIn,
  frameOf,
  hold,
  MINUTE_US,
  policyOf,
  rowsOf,
  stepOf,
  tick,
  traces,
} from '../../../support/bars/stored.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { PostgresProxy } from '../../../support/servers/postgres-proxy.ts';
import { until } from '../../../support/until.ts';

/** One step with something of everything, about one symbol. */
function fullStep(symbol: string, position = 7): { step: Step; ticks: ReturnType<typeof tick>[] } {
  const ticks = [tick(symbol, 0, 10, 2), tick(symbol, 1.5, 11, 0.1), tick(symbol, 3, 9, null)];
  const key = { runId: 0n, provider: 'p', symbol };
  const step = stepOf(position, {
    openAfter: '5',
    openCount: 2,
    dropped: 3,
    windows: rowsOf(ticks, 2_000),
    rollups: rowsOf(ticks, 60_000, { isFinal: false }),
    watermarks: [{ ...key, maxUs: MINUTE_US + 5_000_001, closedEndUs: MINUTE_US + 4_000_000 }],
    late: [{ provider: 'p', symbol, startUs: MINUTE_US - 2_000_000, endUs: MINUTE_US, position: '6' }],
  });
  return { step, ticks };
}

/** All that a step leaves beside bars. */
async function state(client: Client, topic: string): Promise<Record<string, unknown>> {
  const one = async (sql: string): Promise<unknown[]> => (await client.query(sql, [topic])).rows;
  return {
    partition: await one(
      'SELECT step::int, log, open_after, open_count::int, late_dropped::int FROM bars_partitions WHERE topic = $1',
    ),
    position: await one('SELECT "position" FROM bus_positions WHERE topic = $1'),
    watermarks: await one(
      `SELECT symbol, (extract(epoch FROM max_ts) * 1000000)::bigint::text AS max, (extract(epoch FROM closed_end) * 1000000)::bigint::text AS closed
         FROM bars_watermarks WHERE topic = $1 ORDER BY symbol`,
    ),
    late: await one(
      `SELECT symbol, (extract(epoch FROM ts) * 1000000)::bigint::text AS ts, "position" FROM bars_late_windows WHERE topic = $1 ORDER BY 2`,
    ),
  };
}

const EMPTY = { partition: [], position: [], watermarks: [], late: [] };

function stateOfFull(symbol: string, step: number, dropped: number): Record<string, unknown> {
  return {
    partition: [{ step, log: 'log', open_after: '5', open_count: 2, late_dropped: dropped }],
    position: [{ position: '7' }],
    watermarks: [{ symbol, max: `${MINUTE_US + 5_000_001}`, closed: `${MINUTE_US + 4_000_000}` }],
    late: [{ symbol, ts: `${MINUTE_US - 2_000_000}`, position: '6' }],
  };
}

for (const server of testServers()) {
  void test(`steps of a partition on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    t.teardown(() => client.end());
    const sessionOf = async (t: Test): Promise<Client> => {
      const session = await connect(parseDatabaseUrl(url), { applicationName: 'step' });
      t.teardown(() => session.end().catch(() => {}));
      session.on('error', () => {});
      return session;
    };

    await t.test('position, watermarks, bars, rollups and marks become true together', async (t) => {
      const name = { topic: 'together', group: 'g' };
      const { step, ticks } = fullStep('TOGETHER');
      const frame = frameOf(name, await hold(client, name), 1);
      const result = await commitStep(client, frame, step, policyOf());
      t.strictSame(result, { written: 3, corrected: [], restore: [], late: [] });
      t.strictSame(await state(client, name.topic), stateOfFull('TOGETHER', 1, 3));
      t.strictSame(await barsIn(client, { symbol: 'TOGETHER', interval: '2s' }), oracleBars(ticks, 2_000));
      t.strictSame(await barsIn(client, { symbol: 'TOGETHER', interval: '1m' }), oracleBars(ticks, 60_000));
      t.equal((await hold(client, name)).position, '7');
    });

    await t.test(
      'a step is committed once, steps follow each other, and dropped events add up',
      async (t) => {
        const name = { topic: 'numbers', group: 'g' };
        const held = await hold(client, name);
        const { step } = fullStep('NUMBERS');
        const commit = async (number: number, each = step): Promise<number> =>
          (await commitStep(await sessionOf(t), frameOf(name, held, number), each, policyOf())).written;
        t.equal(await commit(1), 3);
        const before = await traces(client, 'NUMBERS');
        const again = fullStep('NUMBERS', 8).step;
        t.equal(await commit(1, again), 0);
        t.strictSame(await state(client, name.topic), stateOfFull('NUMBERS', 1, 3), 'not even its position');
        for (const number of [0, 3, 100]) await t.rejects(commit(number), { code: 'P0004' });
        t.strictSame(await state(client, name.topic), stateOfFull('NUMBERS', 1, 3));
        t.equal(await commit(2), 0, 'the same bars');
        t.strictSame(await state(client, name.topic), stateOfFull('NUMBERS', 2, 6));
        t.strictSame(await traces(client, 'NUMBERS'), before);
      },
    );

    await t.test('an owner that was replaced commits nothing', async (t) => {
      const name = { topic: 'replaced', group: 'g' };
      const old = await hold(client, name, 'old');
      const fresh = await hold(client, name, 'new');
      const { step } = fullStep('REPLACED');
      await t.rejects(commitStep(await sessionOf(t), frameOf(name, old, 1), step, policyOf()), {
        code: 'MDF01',
      });
      t.strictSame(await state(client, name.topic), EMPTY);
      t.strictSame(await barsIn(client, { symbol: 'REPLACED' }), []);
      await commitStep(client, frameOf(name, fresh, 1), step, policyOf());
      // also one whose answer was lost before it was replaced
      await t.rejects(commitStep(await sessionOf(t), frameOf(name, old, 1), step, policyOf()), {
        code: 'MDF01',
      });
      t.strictSame(await state(client, name.topic), stateOfFull('REPLACED', 1, 3));
    });

    await t.test(
      'a backend that ends in the middle leaves nothing, and the step is committed later',
      async (t) => {
        const name = { topic: 'ended', group: 'g' };
        const held = await hold(client, name);
        const { step } = fullStep('ENDED');
        const session = await sessionOf(t);
        const blocker = await sessionOf(t);
        // marks are the last that a step writes
        await blocker.query('BEGIN; LOCK TABLE bars_late_windows IN ACCESS EXCLUSIVE MODE');
        const committing = t.rejects(commitStep(session, frameOf(name, held, 1), step, policyOf()), {
          code: '57P01',
        });
        const pid = await until('it waits in the middle', async () => {
          const { rows } = await client.query<{ pid: number }>(
            `SELECT pid FROM pg_locks WHERE relation = 'bars_late_windows'::regclass AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
          );
          return rows[0]?.pid;
        });
        await client.query('SELECT pg_terminate_backend($1)', [pid]);
        await committing;
        await blocker.query('ROLLBACK');
        t.strictSame(await state(client, name.topic), EMPTY);
        t.strictSame(await traces(client, 'ENDED'), []);
        t.equal((await commitStep(client, frameOf(name, held, 1), step, policyOf())).written, 3);
        t.strictSame(await state(client, name.topic), stateOfFull('ENDED', 1, 3));
      },
    );

    for (const silently of [false, true]) {
      const how = silently
        ? 'the answer of its COMMIT never comes'
        : 'the connection is cut after its COMMIT';
      await t.test(`a step is once when ${how}`, async (t) => {
        const name = { topic: `lost ${silently}`, group: 'g' };
        const symbol = `LOST-${silently}`.toUpperCase();
        const proxy = await PostgresProxy.at(url);
        t.teardown(() => proxy.stop());
        const store = new StoreClient({ dbUri: proxy.url(url) });
        t.teardown(() => store.aclose());
        const frame = frameOf(name, await hold(client, name), 1);
        const { step, ticks } = fullStep(symbol);
        const result = await throughLoss(t, store, proxy, silently, (bars) =>
          bars.commitStep(frame, step, policyOf()),
        );
        t.strictSame(result.late, []);
        t.strictSame(await state(client, name.topic), stateOfFull(symbol, 1, 3));
        t.strictSame(await barsIn(client, { symbol, interval: '2s' }), oracleBars(ticks, 2_000));
        const before = await traces(client, symbol);
        await store.bars.commitStep({ ...frame, number: 2n }, step, policyOf());
        t.strictSame(await traces(client, symbol), before);
      });
    }

    await t.test('what a committed step found is told also when its answer was lost', async (t) => {
      const name = { topic: 'told again', group: 'g' };
      const held = await hold(client, name);
      const proxy = await PostgresProxy.at(url);
      t.teardown(() => proxy.stop());
      const store = new StoreClient({ dbUri: proxy.url(url) });
      t.teardown(() => store.aclose());
      let number = 0;
      for (const late of ['revise', 'drop'] as const) {
        const results = [];
        for (const isLost of [false, true]) {
          const symbol = `TOLD-${late}-${isLost}`.toUpperCase();
          const [a, b, elsewhere] = [tick(symbol, 0, 10), tick(symbol, 1, 12), tick(symbol, 3, 9)];
          // what is stored has a tick that this partition does not see
          await insertBars(client, 'bars_ohlcv', rowsOf([a, elsewhere], 2_000));
          await writeRollups(client, 'bars_ohlcv', rowsOf([a, elsewhere], 60_000, { isFinal: false }));
          const step = stepOf(4, {
            windows: rowsOf([a, b], 2_000),
            rollups: rowsOf([a, b], 60_000, { isFinal: false }),
          });
          number += 1;
          const frame = frameOf(name, held, number);
          const policy = policyOf({ late, closedEndUs: () => MINUTE_US + 4_000_000 });
          const commit = (bars: StoreClient['bars']): Promise<StepResult> =>
            bars.commitStep(frame, step, policy);
          const result = isLost
            ? await throughLoss(t, store, proxy, false, commit)
            : await commit(store.bars);
          results.push({
            late: result.late.map(({ startUs, position }) => [startUs, position]),
            restore: result.restore
              .filter(({ intervalMs }) => intervalMs === 60_000)
              .map(({ isFinal, bar }) => [isFinal, bar.tickCount]),
          });
        }
        const [told, lost] = results;
        if (late === 'revise') t.strictSame(told.late, [[MINUTE_US, '4']], 'its window differs');
        else t.strictSame(told.restore, [[false, 3]], 'the rollup as it is stored');
        t.strictSame(lost.late, told.late);
        t.ok(told.restore.every((row) => lost.restore.some((other) => isDeepStrictEqual(row, other))));
      }
    });
    const { edition } = await detectEdition(client);
    const skip = edition === 'community' ? false : 'only the community edition compresses';
    await t.test('new bars between compressed ones', { skip }, async (t) => {
      const symbols = Array.from({ length: 30 }, (_, at) => `COMPRESSED-${at}`);
      await client.query(
        `ALTER TABLE bars_ohlcv SET (timescaledb.compress, timescaledb.compress_segmentby = 'provider, symbol, "interval"',
           timescaledb.compress_orderby = 'ts')`,
      );
      // every other window of 400 s, and the minutes of it
      await client.query(
        `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
         SELECT 'p', s, i.name, at, 1, 1, 1, 1, 1, 1, at, at, true
           FROM unnest($1::text[]) s, (VALUES ('2s', 4, 100), ('1m', 60, 7)) i (name, seconds, many), generate_series(0, i.many - 1) n,
                LATERAL (SELECT to_timestamp($2::bigint / 1000000 + n * i.seconds) AS at) t`,
        [symbols, MINUTE_US],
      );
      await client.query("SELECT compress_chunk(c) FROM show_chunks('bars_ohlcv') c");
      await client.query(
        `ALTER DATABASE "${client.database}" SET timescaledb.max_tuples_decompressed_per_dml_transaction = 40`,
      );
      const limited = new URL(url);
      limited.searchParams.set('options', '-ctimescaledb.max_tuples_decompressed_per_dml_transaction=40');
      const name = { topic: 'compressed', group: 'g' };
      const held = await hold(client, name);
      let number = 0;
      let refused = 0;
      for (const [dbUri, those] of [
        [url, symbols.slice(0, 15)],
        [limited.href, symbols.slice(15)],
      ] as const) {
        const store = new StoreClient({ dbUri });
        t.teardown(() => store.aclose());
        const ticks = those.flatMap((symbol) => [tick(symbol, 6, 3), tick(symbol, 10, 5)]);
        const step = stepOf(number, { windows: rowsOf(ticks, 2_000), rollups: rowsOf(ticks, 60_000) });
        number += 1;
        const frame = frameOf(name, held, number);
        const commit = (): Promise<StepResult> => store.bars.commitStep(frame, step, policyOf());
        let result: StepResult | null = null;
        while (result === null) {
          result = await commit().catch((error: unknown) => {
            // by the URL's own wish: fewer rows at once pass
            if (sqlstateOf(error) !== '53400' || refused === 20) throw error;
            refused += 1;
            return null;
          });
        }
        // each minute is stored with other values: it is merged again, with what lies above
        t.equal(result.written, 30 + 15 * 4);
      }
      t.ok(refused > 0 && refused < 8, `${refused} refusals, all of the session that asks for a limit`);
      const { rows } = await client.query<{ n: string }>(
        `SELECT count(*) AS n FROM bars_ohlcv WHERE "interval" = '2s' AND symbol = ANY ($1)`,
        [symbols],
      );
      t.strictSame(rows, [{ n: String(30 * 102) }]);
    });
  });
}

/** The work, whose first COMMIT is answered by nothing: it rejects, and is done again. */
async function throughLoss<T>(
  t: Test,
  store: StoreClient,
  proxy: PostgresProxy,
  silently: boolean,
  work: (bars: StoreClient['bars']) => Promise<T>,
): Promise<T> {
  const before = proxy.lost('bars');
  proxy.answers.loseEvery = 1;
  proxy.answers.silently = silently;
  const first = work(store.bars);
  if (silently) {
    await until('the COMMIT was answered', () => proxy.lost('bars') > before);
    proxy.cutAll();
  }
  await t.rejects(first);
  t.equal(proxy.lost('bars'), before + 1);
  proxy.heal();
  return work(store.bars);
}
