import { test } from 'tap';
import { escapeIdentifier } from 'pg';
import type { Extension, Step } from '../../../../src/core/window/step.ts';
import { commitStep, type BarsPolicy, type StepResult } from '../../../../src/store/bars/commit-step.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { oracleBars, type OracleTick } from '../../../support/bars/oracle.ts';
import {
  barsIn,
  frameOf,
  hold,
  MINUTE_US,
  oracleRollups,
  policyOf,
  rollupsIn,
  ROLLUPS,
  rowsOf,
  stepOf,
  storeBars,
  tick,
  traces,
} from '../../../support/bars/stored.ts';
import { testServers } from '../../../support/servers/postgres.ts';

const iso = (at: number): string => new Date(MINUTE_US / 1_000 + at * 1_000).toISOString();

/** Windows and rollups of a replay, whose window at `open` (s) is not closed. */
function replayed(ticks: readonly OracleTick[], runId: bigint): Partial<Step> {
  return {
    windows: rowsOf(ticks, 2_000, { runId }),
    rollups: Object.values(ROLLUPS).flatMap((length) => rowsOf(ticks, length, { runId, isFinal: false })),
  };
}

const eventOf = ({ srcUs, seq, price, size }: OracleTick): Extension['ticks'][0] => ({
  srcUs,
  seq: BigInt(seq),
  price,
  size,
});

for (const server of testServers()) {
  void test(`bars of replays on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    t.teardown(() => client.end());
    const partition = async (topic: string, policy: Partial<BarsPolicy> = {}) => {
      const name = { topic, group: 'g' };
      const held = await hold(client, name);
      let number = 0;
      return (parts: Partial<Step>): Promise<StepResult> => {
        number += 1;
        return commitStep(client, frameOf(name, held, number), stepOf(number, parts), policyOf(policy));
      };
    };
    const run = async (metadata: Record<string, unknown>, jobName = 'tick_replay'): Promise<bigint> => {
      const { rows } = await client.query<{ id: string }>(
        'INSERT INTO job_runs (job_name, metadata) VALUES ($1, $2) RETURNING id',
        [jobName, JSON.stringify(metadata)],
      );
      return BigInt(rows[0].id);
    };
    const replayRollups = async (symbol: string, runId: bigint): Promise<unknown> => {
      const { rows } = await client.query<{ interval: string; ticks: number; volume: number; close: number }>(
        `SELECT "interval", tick_count::int AS ticks, volume, close FROM bars_replay
          WHERE symbol = $1 AND replay_run_id = $2 AND "interval" <> '2s' ORDER BY "interval", ts`,
        [symbol, runId.toString()],
      );
      return rows.map(({ interval, ticks, volume, close }) => [interval, ticks, volume, close]);
    };

    await t.test('a replay has rows of its own, by its run, and touches no live one', async (t) => {
      const live = [tick('APART', 0, 10), tick('APART', 3, 11)];
      await storeBars(client, live);
      const before = await traces(client, 'APART');
      const commit = await partition('apart');
      const runs = [
        await run({ start: iso(0), end: iso(60) }),
        await run({ repair: true, start: iso(0), end: iso(60) }, 'tick_export'),
      ];
      const ticks = [
        tick('APART', 0, 20, 0.1, 1),
        tick('APART', 1, 21, 0.2, 2),
        tick('APART', 9, 19, 0.3, 3),
      ];
      for (const runId of runs) {
        const { corrected, late } = await commit(replayed(ticks, runId));
        t.strictSame([corrected, late], [[], []]);
      }
      const all = await traces(client, 'APART');
      t.strictSame(
        all.filter((row) => row['of'] === 'live'),
        before,
      );
      t.strictSame(
        await barsIn(client, { table: 'bars_replay', symbol: 'APART', interval: '2s' }),
        oracleBars(ticks, 2_000).flatMap((bar) => [bar, bar]),
      );
      await commit(replayed(ticks, runs[0]));
      t.strictSame(await traces(client, 'APART'), all, 'emitted again nothing changes');
    });

    await t.test('what a run emits after a pause is merged behind what its window holds', async (t) => {
      const commit = await partition('extended');
      const runId = await run({});
      const before = [tick('MORE', 0, 10, 0.1, 4), tick('MORE', 1, 12, 0.2, 5), tick('MORE', 4, 9, 1, 6)];
      await commit(replayed(before, runId));
      const again = { srcUs: before[1].srcUs, seq: 5n, price: 12, size: 0.2 };
      const behind = [tick('MORE', 1, 8, 0.3, 6), tick('MORE', 1.5, 11, null, 0)];
      const apart = [tick('MORE', 6, 7, 0.7, 0)];
      const key = { runId, provider: 'p', symbol: 'MORE' };
      const extensions = [
        { ...key, startUs: MINUTE_US, ticks: [again, ...behind.map(eventOf), eventOf(behind[0])] },
        { ...key, startUs: MINUTE_US + 6_000_000, ticks: apart.map(eventOf) },
        { ...key, startUs: MINUTE_US + 4_000_000, ticks: [eventOf(before[2])] },
      ];
      const { restore } = await commit({ extensions });
      const all = [...before, ...behind, ...apart];
      const check = async (): Promise<void> => {
        t.strictSame(
          await barsIn(client, { table: 'bars_replay', symbol: 'MORE', interval: '2s' }),
          oracleBars(all, 2_000),
        );
        const [{ volume, close }] = oracleBars(all, 60_000);
        t.strictSame(
          await replayRollups('MORE', runId),
          ['1d', '1h', '1m', '5m'].map((interval) => [interval, 6, volume, close]),
        );
      };
      await check();
      t.strictSame(
        restore.map((row) => [row.runId, row.intervalMs, row.bar.tickCount]),
        Object.values(ROLLUPS).map((length) => [runId, length, 6]),
      );
      await commit({ extensions });
      await check();
      const { rows } = await client.query('SELECT FROM bars_ohlcv WHERE symbol = $1', ['MORE']);
      t.equal(rows.length, 0);
    });

    for (const late of ['revise', 'drop'] as const) {
      await t.test(
        `a repair fills what is absent or poorer, wholly inside its range (${late})`,
        async (t) => {
          const symbol = `REPAIR-${late.toUpperCase()}`;
          const of = (at: number, price: number, size = 1, seq = 0): OracleTick =>
            tick(symbol, at, price, size, seq);
          const live = [of(0, 1), of(2, 2), of(3, 3), of(6, 4), of(7, 5), of(10, 6), of(70, 7)];
          await storeBars(client, live);
          const before = await traces(client, symbol);
          const runId = await run({ repair: true, start: iso(1), end: iso(11) });
          const ticks = [
            of(0, 100), // its window begins before the range
            of(0.5, 100, 1, 1),
            of(2, 2, 1, 9), // poorer
            of(4, 200), // absent
            of(6, 60, 1, 1), // as many
            of(7, 61, 1, 1),
            of(8, 300, 0.1, 1), // absent
            of(8.5, 301, 0.2, 2),
            of(10, 400, 1, 1), // its window ends behind the range
            of(11, 401, 1, 1),
          ];
          const commit = await partition(`repair ${late}`, { late });
          const result = await commit(replayed(ticks, runId));
          t.strictSame(
            result.corrected.map(({ row, revision }) => [row.intervalMs, revision]),
            Object.values(ROLLUPS).map((length) => [length, 1]),
          );
          const repaired = [...live, ticks[3], ticks[6], ticks[7]];
          t.strictSame(await barsIn(client, { symbol, interval: '2s' }), oracleBars(repaired, 2_000));
          t.strictSame(await rollupsIn(client, symbol), oracleRollups(repaired));
          t.strictSame(
            await barsIn(client, { table: 'bars_history', symbol, interval: '1h' }),
            oracleBars(live, 3_600_000),
          );
          const kept = (rows: typeof before): typeof before =>
            rows.filter((row) => row['of'] === 'live' && row['interval'] === '2s');
          t.strictSame(
            kept(await traces(client, symbol)).filter((row) =>
              kept(before).some((old) => old['ts'] === row['ts']),
            ),
            kept(before),
          );

          // richer: the version before is kept
          const more = [of(2, 2), of(3, 3), of(3.5, 3.5)];
          const second = await run({ repair: true, start: iso(0), end: iso(60) });
          await commit(replayed(more, second));
          const all = [...repaired, more[2]];
          t.strictSame(await barsIn(client, { symbol, interval: '2s' }), oracleBars(all, 2_000));
          t.strictSame(await rollupsIn(client, symbol), oracleRollups(all));
          t.strictSame(
            await barsIn(client, { table: 'bars_history', symbol, interval: '2s' }),
            oracleBars([of(2, 2), of(3, 3)], 2_000),
          );
          const untouched = await traces(client, symbol);
          await commit(replayed(more, second));
          t.strictSame(await traces(client, symbol), untouched);
        },
      );
    }

    await t.test('a range without a zone is UTC, whatever the server thinks', async (t) => {
      const database = new URL(url).pathname.slice(1);
      await client.query(`ALTER DATABASE ${escapeIdentifier(database)} SET timezone TO 'America/New_York'`);
      const runId = await run({ repair: true, start: iso(0).replace('Z', ''), end: iso(2).replace('Z', '') });
      const session = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
      t.teardown(() => session.end());
      const name = { topic: 'zone', group: 'g' };
      const step = stepOf(1, replayed([tick('ZONE', 0, 1), tick('ZONE', 2, 1)], runId));
      await commitStep(session, frameOf(name, await hold(session, name), 1), step, policyOf());
      t.strictSame(
        await barsIn(client, { symbol: 'ZONE', interval: '2s' }),
        oracleBars([tick('ZONE', 0, 1)], 2_000),
      );
    });

    await t.test('a repair leaves windows alone that live events still have open', async (t) => {
      const ticks = [tick('OPEN', 0, 10), tick('OPEN', 3, 11)];
      const runId = await run({ repair: true, start: iso(0), end: iso(60) });
      const commit = await partition('open', { closedEndUs: () => MINUTE_US + 2_000_000 });
      await commit(replayed(ticks, runId));
      t.strictSame(
        await barsIn(client, { symbol: 'OPEN', interval: '2s' }),
        oracleBars(ticks.slice(0, 1), 2_000),
      );
    });

    await t.test('a run whose range says nothing repairs nothing, and stops nobody', async (t) => {
      const commit = await partition('nothing');
      for (const range of [
        {},
        { start: iso(0) },
        { start: 'yesterday-ish', end: iso(60) },
        { start: 5, end: {} },
      ]) {
        const runId = await run({ repair: true, ...range });
        await commit(replayed([tick('NOTHING', 0, 1)], runId));
      }
      t.strictSame(await barsIn(client, { symbol: 'NOTHING' }), []);
    });
  });
}
