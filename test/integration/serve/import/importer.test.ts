import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NO_PROVIDERS } from '../../../../src/core/market/identity/providers.ts';
import { systemClock } from '../../../../src/core/time.ts';
import {
  importTicks,
  type BadRow,
  type ImportOptions,
  type ImportReport,
} from '../../../../src/serve/import/importer.ts';
import { exportDatabase, insertTicks, type ExportDatabase } from '../../../support/export/export-database.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';

async function imported(
  { store, folder }: ExportDatabase,
  name: string,
  more: Partial<ImportOptions> = {},
): Promise<{ report: ImportReport; bad: BadRow[] }> {
  const bad: BadRow[] = [];
  const report = await importTicks({
    store,
    providers: NO_PROVIDERS,
    clock: systemClock,
    path: join(folder, name),
    form: null,
    given: {},
    anew: false,
    badMax: 1000,
    onBad: (row) => bad.push(row),
    ...more,
  });
  return { report, bad };
}

const CONTENT =
  'SELECT provider, symbol, ts::text, seq, price, size, bid, ask, side FROM tick_data ORDER BY ts, symbol, seq';

testOnServers('imports', async (t, server) => {
  await t.test('what was exported comes back, by every format, once', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder } = database;
    await insertTicks(client, { count: 12_000, symbols: ['AAPL', 'ÄÖ"X,Y', 'NVDA'] });
    const before = (await client.query(CONTENT)).rows;
    for (const name of ['t.csv', 't.csv.gz', 't.csv.zst', 't.parquet']) {
      await database.export(name);
      await client.query('TRUNCATE tick_data');
      const { report, bad } = await imported(database, name);
      t.match(report, { rows: 12_000, stored: 12_000, known: 0, bad: 0, resumed: false });
      t.strictSame(bad, []);
      t.strictSame((await client.query(CONTENT)).rows, before);
      t.match((await imported(database, name)).report, { stored: 0, known: 12_000 });
    }
    await database.export('set', { partitionBy: ['day', 'symbol'], form: 'parquet' });
    await client.query("DELETE FROM tick_data WHERE symbol = 'NVDA'");
    const { report } = await imported(database, 'set/day=2025-01-06/symbol=NVDA/part-0000.parquet');
    t.match(report, { rows: 4000, stored: 4000 });
    t.strictSame((await client.query(CONTENT)).rows, before);
    const { rows } = await client.query(
      "SELECT status, rows_written FROM job_runs WHERE job_name = 'tick_import' ORDER BY id",
    );
    t.match(rows[0], { status: 'success', rows_written: '12000' });
    t.ok(folder);
  });

  await t.test('bad rows are named by line and column, and the others are stored', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { folder, client } = database;
    const lines = [
      'symbol,price,ts,size,side,seq,created_at',
      'nvda,1.5,2025-01-06 00:00:00.000001+00:00,,1.0,7.0,x',
      'NVDA,abc,2025-01-06T00:00:00Z,,,1,',
      'NVDA,2,yesterday,,,1,',
      'NVDA,2,1999-01-01,,,1,',
      'NVDA,2,2025-01-06T00:00:01Z,-5,,1,',
      '"A|B",2,2025-01-06T00:00:01Z,,,1,',
      'NVDA,2,2025-01-06T00:00:01Z,,maybe,1,',
      'NVDA,2,2025-01-06T00:00:01Z,,,1.5,',
      'NVDA,2',
      'NVDA,9,2025-01-06 00:00:00.000001Z,,,7,',
      'NVDA,3,2025-01-06T00:00:02Z,5,sell,1,',
    ];
    await writeFile(join(folder, 'bad.csv'), `\ufeff${lines.join('\r\n')}\r\n`);
    const { report, bad } = await imported(database, 'bad.csv', { given: { provider: 'ibkr' } });
    t.match(report, { rows: 11, stored: 2, bad: 9 });
    t.strictSame(
      bad.map(({ line, column }) => [line, column]),
      [
        [3, 'price'],
        [4, 'ts'],
        [5, 'ts'],
        [6, 'size'],
        [7, 'symbol'],
        [8, 'side'],
        [9, 'seq'],
        [10, null],
        [11, null],
      ],
    );
    t.match(bad[0].cause, /"abc"/);
    t.match(bad[8].cause, /another content/);
    t.strictSame((await client.query('SELECT symbol, price, side, seq FROM tick_data ORDER BY ts')).rows, [
      { symbol: 'NVDA', price: 1.5, side: 1, seq: '7' },
      { symbol: 'NVDA', price: 3, side: -1, seq: '1' },
    ]);
    await t.rejects(imported(database, 'bad.csv', { badMax: 3, anew: true, given: { provider: 'ibkr' } }), {
      name: 'TooManyBadRows',
    });
    await t.rejects(imported(database, 'bad.csv'), {
      name: 'ImportFileError',
      message: /no column provider/,
    });
    await writeFile(join(folder, 'other.csv'), 'a,b\n1,2\n');
    await t.rejects(imported(database, 'other.csv'), { message: /no column of ticks is called a, b/ });
    await writeFile(join(folder, 'no.parquet'), 'PAR1');
    await t.rejects(imported(database, 'no.parquet'), { name: 'ImportFileError' });
    await writeFile(join(folder, 'cut.csv.gz'), Buffer.from([0x1f, 0x8b, 8, 0, 0]));
    await t.rejects(imported(database, 'cut.csv.gz'), { name: 'ImportFileError' });
    await t.rejects(imported(database, 'absent.csv'), { name: 'ImportFileError' });
  });

  await t.test('an import that was interrupted goes on', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder, store } = database;
    await insertTicks(client, { count: 11_000 });
    await database.export('t.csv');
    const before = (await client.query(CONTENT)).rows;
    await client.query('TRUNCATE tick_data');
    const lines = (await readFile(join(folder, 't.csv'), 'utf8')).split('\n');
    t.equal(lines.length, 11_002);
    let batches = 0;
    const failing = new Proxy(store, {
      get(target, name): unknown {
        if (name === 'writeTicks')
          return (rows: Parameters<typeof store.writeTicks>[0]) => {
            batches += 1;
            if (batches === 2) throw new Error('the connection is gone');
            return target.writeTicks(rows);
          };
        return Reflect.get(target, name, target) as unknown;
      },
    });
    const clock = { ...systemClock, monotonicMs: () => batches * 10_000 };
    await t.rejects(imported(database, 't.csv', { store: failing, clock }), {
      message: 'the connection is gone',
    });
    const { rows } = await client.query('SELECT status, metadata FROM job_runs ORDER BY id DESC LIMIT 1');
    t.match(rows[0], { status: 'failed', metadata: { rows_read: 5000 } });
    const { report } = await imported(database, 't.csv');
    t.match(report, { resumed: true, rows: 11_000, stored: 11_000, known: 0 });
    t.strictSame((await client.query(CONTENT)).rows, before);
  });
});
