import { test } from 'tap';
import { reviseWindows, type Revision } from '../../../../src/store/bars/revise.ts';
import { readBars } from '../../../../src/store/bars/rows.ts';
import { commitStep } from '../../../../src/store/bars/commit-step.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { oracleBars } from '../../../support/bars/oracle.ts';
import {
  barsIn,
  frameOf,
  hold,
  lateWindow,
  MINUTE_US,
  oracleRollups,
  policyOf,
  RESUME,
  reviserOf,
  ROLLUPS,
  rollupsIn,
  stepOf,
  storeBars,
  storeTicks,
  tick,
  traces,
} from '../../../support/bars/stored.ts';
import { testServers } from '../../../support/servers/postgres.ts';
import { PostgresProxy } from '../../../support/servers/postgres-proxy.ts';

for (const server of testServers()) {
  void test(`corrections of bars on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const url = await opened.createDatabase({ schema: false });
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    t.teardown(() => client.end());

    await t.test('a late tick, its rollups, their versions; again and twice in a row', async (t) => {
      const first = [tick('TWICE', 0.5, 10, 1), tick('TWICE', 70, 12, 2), tick('TWICE', 400, 8, 3)];
      const [second, third] = [tick('TWICE', 0.1, 30, 0.1), tick('TWICE', 1.9, 1, null)];
      await storeBars(client, first);
      await storeTicks(client, first);
      const untouched = await traces(client, 'TWICE');
      const revise = await reviserOf(client, 'twice');
      t.strictSame(
        await revise([lateWindow('TWICE', 0)]),
        { done: [lateWindow('TWICE', 0)], windows: [], rollups: [], restore: [] },
        'a duplicate',
      );
      t.strictSame(await traces(client, 'TWICE'), untouched);

      await storeTicks(client, [second]);
      const revision = await revise([lateWindow('TWICE', 0)]);
      t.strictSame(
        revision.windows.map(({ revision: number }) => number),
        [1],
      );
      const lengths = [60_000, 300_000, 3_600_000, 86_400_000];
      t.strictSame(
        revision.rollups.map(({ row, revision: number }) => [row.intervalMs, number]),
        lengths.map((ms) => [ms, 1]),
      );
      t.strictSame(
        await barsIn(client, { symbol: 'TWICE', interval: '2s' }),
        oracleBars([...first, second], 2_000),
      );
      t.strictSame(await rollupsIn(client, 'TWICE'), oracleRollups([...first, second]));
      await storeTicks(client, [third]);
      await revise([lateWindow('TWICE', 0)]);
      t.strictSame(
        await barsIn(client, { symbol: 'TWICE', interval: '2s' }),
        oracleBars([...first, second, third], 2_000),
      );
      t.strictSame(await rollupsIn(client, 'TWICE'), oracleRollups([...first, second, third]));
      t.strictSame(await barsIn(client, { table: 'bars_history', symbol: 'TWICE', interval: '2s' }), [
        ...oracleBars([first[0]], 2_000),
        ...oracleBars([first[0], second], 2_000),
      ]);
      t.strictSame(await barsIn(client, { table: 'bars_history', symbol: 'TWICE', interval: '1d' }), [
        ...oracleBars(first, 86_400_000),
        ...oracleBars([...first, second], 86_400_000),
      ]);
      // neighbours: other windows and the minutes and five minutes they lie in
      const after = await traces(client, 'TWICE');
      const changed = after.filter((row, at) => row['xmin'] !== untouched[at]['xmin']);
      t.strictSame(
        changed.map((row) => [row['interval'], row['revision']]),
        [
          ['1d', 2],
          ['1h', 2],
          ['1m', 2],
          ['2s', 2],
          ['5m', 2],
        ],
      );
      t.equal(after.length - changed.length, 5);
    });

    await t.test('an absent bar is made, a bar never shrinks, and marks that came again stay', async (t) => {
      const known = [tick('ABSENT', 0, 5), tick('ABSENT', 1, 6), tick('ABSENT', 4, 7)];
      await storeBars(client, known.slice(0, 2));
      await storeTicks(client, known.slice(1)); // of the first window tick_data has less than the bar
      const name = { topic: 'absent', group: 'g' };
      const held = await hold(client, name);
      const marks = [lateWindow('ABSENT', 0), lateWindow('ABSENT', 4), lateWindow('ABSENT', 8)];
      await commitStep(client, frameOf(name, held, 1), stepOf(8, { late: marks }), policyOf());
      const before = (await traces(client, 'ABSENT')).find((row) => row['interval'] === '2s');
      const again = { ...lateWindow('ABSENT', 8), position: '12' };
      await commitStep(client, frameOf(name, held, 2), stepOf(12, { late: [again] }), policyOf());
      const { windows } = await reviseWindows(client, frameOf(name, held, 3), RESUME, marks, policyOf());
      t.strictSame(
        windows.map(({ row, revision }) => [row.startUs, revision]),
        [[MINUTE_US + 4_000_000, 0]],
      );
      t.strictSame(
        (await traces(client, 'ABSENT')).find((row) => row['interval'] === '2s'),
        before,
      );
      t.strictSame(await barsIn(client, { symbol: 'ABSENT', interval: '2s' }), oracleBars(known, 2_000));
      t.strictSame(await rollupsIn(client, 'ABSENT'), oracleRollups(known));
      t.strictSame(await barsIn(client, { table: 'bars_history', symbol: 'ABSENT', interval: '2s' }), []);
      const { rows } = await client.query(
        'SELECT symbol, "position" FROM bars_late_windows WHERE topic = \'absent\'',
      );
      t.strictSame(rows, [{ symbol: 'ABSENT', position: '12' }], 'a later event came meanwhile');
    });

    await t.test('a window of many pages, with equal times across their borders', async (t) => {
      // 20,000 ticks are a page; 40,000 share few microseconds, and the last page is a full one
      const ticks = Array.from({ length: 40_000 }, (_, at) => {
        const price = 100 + ((at * 7919) % 1_000) / 10;
        return tick('PAGES', 0.000_001 * Math.floor(at / 15_000), price, (at % 7) / 10, at);
      });
      await storeTicks(client, ticks);
      const revise = await reviserOf(client, 'pages');
      await revise([lateWindow('PAGES', 0)]);
      t.strictSame(await barsIn(client, { symbol: 'PAGES', interval: '2s' }), oracleBars(ticks, 2_000));
      t.strictSame(await rollupsIn(client, 'PAGES'), oracleRollups(ticks));
    });

    await t.test(
      'a correction is once when the answer of its COMMIT is lost, and its rollups are told',
      async (t) => {
        const ticks = [tick('LOST', 0, 10), tick('LOST', 3, 9)];
        const late = tick('LOST', 1, 12);
        await storeBars(client, ticks, { isFinal: false });
        await storeTicks(client, [...ticks, late]);
        const name = { topic: 'lost', group: 'g' };
        const frame = frameOf(name, await hold(client, name), 1);
        const proxy = await PostgresProxy.at(url);
        t.teardown(() => proxy.stop());
        const through = new StoreClient({ dbUri: proxy.url(url) });
        t.teardown(() => through.aclose());
        proxy.answers.loseEvery = 1;
        const policy = policyOf({ closedEndUs: () => MINUTE_US + 4_000_000 });
        const revise = (): Promise<Revision> =>
          through.bars.revise(frame, RESUME, [lateWindow('LOST', 0)], policy);
        await t.rejects(revise());
        proxy.heal();
        const { restore } = await revise();
        t.strictSame(
          await barsIn(client, { symbol: 'LOST', interval: '2s' }),
          oracleBars([...ticks, late], 2_000),
        );
        t.strictSame(await rollupsIn(client, 'LOST'), oracleRollups([...ticks, late]));
        t.strictSame(
          (await traces(client, 'LOST')).map(({ interval, revision }) => [interval, revision]),
          [
            ['1d', 0],
            ['1h', 0],
            ['1m', 0],
            ['2s', 1],
            ['2s', 0],
            ['5m', 0],
          ],
        );
        t.strictSame(
          restore.map(({ intervalMs, bar }) => [intervalMs, bar.tickCount]),
          Object.values(ROLLUPS).map((ms) => [ms, 3]),
        );
        t.equal(
          (await readBars(client, 'bars_ohlcv', [{ ...restore[0], endUs: restore[0].startUs + 1 }]))[0]
            .length,
          1,
        );
      },
    );
  });
}
