import { test } from 'tap';
import { remergeRollups } from '../../../../src/store/bars/rollups.ts';
import { replaceBars } from '../../../../src/store/bars/rows.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { oracleBars, type OracleTick } from '../../../support/bars/oracle.ts';
import {
  barsIn,
  lateWindow,
  MINUTE_US,
  oracleRollups,
  policyOf,
  reviserOf,
  ROLLUPS,
  rollupsIn,
  rowsOf,
  storeBars,
  storeTicks,
  tick,
  traces,
} from '../../../support/bars/stored.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

function correctionOf(interval: string, startUs: number): unknown {
  const ts = `${new Date(startUs / 1_000).toISOString().slice(0, -1)}000Z`;
  return { provider: 'p', symbol: 'HEARD', interval, ts, revision: 1 };
}

for (const server of testServers()) {
  void test(`rollups that follow corrections on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    t.teardown(() => client.end());

    await t.test('after the length of windows was changed a rollup is made of its ticks', async (t) => {
      const ticks = [tick('LENGTH', 1, 10), tick('LENGTH', 11, 11), tick('LENGTH', 31, 12)];
      await storeBars(client, ticks);
      await storeTicks(client, ticks);
      const late = tick('LENGTH', 11.5, 20);
      await storeTicks(client, [late]);
      const revise = await reviserOf(client, 'length', { windowMs: 5_000 });
      await revise([lateWindow('LENGTH', 10, 5_000)]);
      t.strictSame(
        await barsIn(client, { symbol: 'LENGTH', interval: '5s' }),
        oracleBars([ticks[1], late], 5_000),
      );
      t.strictSame(await rollupsIn(client, 'LENGTH'), oracleRollups([...ticks, late]));
      // one window of the new length may hold more than the whole minute did
      const many = [12, 12.5, 13, 13.5, 14].map((at) => tick('LENGTH', at, 30 + at));
      await storeTicks(client, many);
      await revise([lateWindow('LENGTH', 10, 5_000)]);
      t.strictSame(await rollupsIn(client, 'LENGTH'), oracleRollups([...ticks, late, ...many]));
    });

    await t.test('a rollup that is still open takes only what is closed from the ticks', async (t) => {
      const ticks = [tick('OPEN', 1, 10), tick('OPEN', 11, 11)];
      await storeBars(client, ticks, { isFinal: false });
      const late = tick('OPEN', 11.5, 20);
      const ahead = tick('OPEN', 21, 99);
      await storeTicks(client, [...ticks, late, ahead]);
      const revise = await reviserOf(client, 'open', {
        windowMs: 5_000,
        closedEndUs: () => MINUTE_US + 20_000_000,
      });
      const { restore } = await revise([lateWindow('OPEN', 10, 5_000)]);
      t.strictSame(await rollupsIn(client, 'OPEN'), oracleRollups([...ticks, late]));
      t.ok(restore.every(({ isFinal, bar }) => !isFinal && bar.tickCount === 3));
    });

    await t.test('only parents of what changed are touched', async (t) => {
      const ticks = [0, 60, 120, 300, 3_600].map((at) => tick('PARENTS', at, 10));
      await storeBars(client, ticks);
      const before = await traces(client, 'PARENTS');
      const options = { table: 'bars_ohlcv', ...policyOf() } as const;
      const unchanged = rowsOf(ticks, 2_000).map((row) => ({ row, revision: 1, ticksAdded: 0 }));
      t.strictSame(
        await remergeRollups(client, options, unchanged, []),
        [],
        'nothing changed, whatever is named',
      );
      t.strictSame(await remergeRollups(client, options, [], rowsOf(ticks, 300_000)), []);
      t.strictSame(await traces(client, 'PARENTS'), before);
      // a price inside what the five minutes had: the minute changes, its close shows no further
      const richer = [...ticks, tick('PARENTS', 61, 10)];
      const changed = await replaceBars(client, 'bars_ohlcv', rowsOf(richer, 2_000), 'richer');
      const rollups = await remergeRollups(client, options, changed, []);
      t.strictSame(
        rollups.map(({ row }) => [row.intervalMs, row.startUs]),
        [
          [60_000, MINUTE_US + 60_000_000],
          [300_000, MINUTE_US - (MINUTE_US % 300_000_000)],
          [3_600_000, MINUTE_US - (MINUTE_US % 3_600_000_000)],
          [86_400_000, MINUTE_US - (MINUTE_US % 86_400_000_000)],
        ],
      );
      t.strictSame(await barsIn(client, { symbol: 'PARENTS', interval: '2s' }), oracleBars(richer, 2_000));
      t.strictSame(await rollupsIn(client, 'PARENTS'), oracleRollups(richer));
      // one that is missing is made where it is named
      await client.query("DELETE FROM bars_ohlcv WHERE symbol = 'PARENTS' AND \"interval\" = '5m'");
      await remergeRollups(client, options, [], rowsOf(richer, 300_000));
      t.strictSame(await barsIn(client, { symbol: 'PARENTS', interval: '2s' }), oracleBars(richer, 2_000));
      t.strictSame(await rollupsIn(client, 'PARENTS'), oracleRollups(richer));
    });

    await t.test('listeners hear of what was corrected, at the commit and no earlier', async (t) => {
      const listener = await connect(parseDatabaseUrl(url), { applicationName: 'listener' });
      t.teardown(() => listener.end());
      const heard: { corrected: number; bars: { symbol: string }[] }[] = [];
      listener.on('notification', ({ payload }) =>
        heard.push(JSON.parse(payload ?? '') as (typeof heard)[0]),
      );
      await listener.query('LISTEN bars_revised');
      const revise = await reviserOf(client, 'heard');
      await storeTicks(client, [tick('HEARD', 0, 5)]);
      await revise([lateWindow('HEARD', 0)]);
      await listener.query('SELECT 1');
      t.strictSame(heard, [], 'a bar that was not there is no correction');
      await storeTicks(client, [tick('HEARD', 1, 6)]);
      const blocker = await connect(parseDatabaseUrl(url), { applicationName: 'blocker' });
      t.teardown(() => blocker.end());
      await blocker.query('BEGIN; LOCK TABLE bars_late_windows IN ACCESS EXCLUSIVE MODE');
      const revising = revise([lateWindow('HEARD', 0)]);
      await until('it waits behind its bars', async () => {
        const { rows } = await blocker.query(
          `SELECT FROM pg_locks WHERE relation = 'bars_late_windows'::regclass AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        );
        return rows.length > 0;
      });
      await listener.query('SELECT 1');
      t.strictSame(heard, []);
      await blocker.query('ROLLBACK');
      await revising;
      await until('it is heard', async () => {
        await listener.query('SELECT 1');
        return heard.length > 0;
      });
      t.strictSame(heard, [
        {
          corrected: 5,
          bars: Object.entries({ '2s': 2_000, ...ROLLUPS }).map(([name, ms]) =>
            correctionOf(name, MINUTE_US - (MINUTE_US % (ms * 1_000))),
          ),
        },
      ]);
      // the longest names there are, each of whose bytes JSON writes as two
      const symbols = Array.from({ length: 40 }, (_, n) => `${String(n).padStart(2, '0')}${'\\'.repeat(62)}`);
      const provider = '"'.repeat(64);
      const long = (at: number, of: string): OracleTick => ({ ...tick(of, at, 5), provider });
      await storeTicks(
        client,
        symbols.map((of) => long(0, of)),
      );
      const marks = symbols.map((of) => ({ ...lateWindow(of, 0), provider }));
      await revise(marks);
      await storeTicks(
        client,
        symbols.map((of) => long(1, of)),
      );
      await revise(marks);
      await until('that is heard, too', async () => {
        await listener.query('SELECT 1');
        return heard.length > 1;
      });
      t.equal(heard[1].corrected, 40 * 5);
      t.ok(heard[1].bars.length >= 10 && heard[1].bars.every(({ symbol }) => symbols.includes(symbol)));
    });
  });
}
