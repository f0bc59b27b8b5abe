import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Manifest } from '../../../../src/core/export/manifest.ts';
import type { ExportProblem } from '../../../../src/serve/export/export-error.ts';
import type { TargetFailure } from '../../../../src/serve/export/targets/target.ts';
import { exportDatabase, insertTicks } from '../../../support/export/export-database.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';

/** The rows of tick_data as an export has them, by the server's own COPY. */
const ORACLE = `SELECT provider || ',' || symbol || ',' || price || ',' || iso(ts) || ',' || coalesce(size::text, '') || ',' ||
    coalesce(bid::text, '') || ',' || coalesce(ask::text, '') || ',' || coalesce(side::text, '') || ',' || seq || ',' || iso(created_at) AS line
  FROM tick_data ORDER BY ts, symbol, seq`;
const ISO = `CREATE FUNCTION iso(t timestamptz) RETURNS text LANGUAGE sql AS
  $$ SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$`;
/** For t.rejects. */
function exportError(
  kind: ExportProblem,
  message: string | RegExp = /./,
): { name: string; message: RegExp; kind: string } {
  const pattern = typeof message === 'string' ? new RegExp(`^${message}$`) : message;
  return { name: 'ExportError', message: pattern, kind };
}

function targetError(kind: TargetFailure): { name: string; kind: string } {
  return { name: 'TargetError', kind };
}

const HEADER = 'provider,symbol,price,ts,size,bid,ask,side,seq,created_at\n';

/** A row of bars_ohlcv. */
function bar(ts: string, close: number): string {
  return `('ibkr', 'NVDA', '1m', '${ts}', 1, 9, 1, ${close}, 5, 10, '${ts}', '${ts}', true)`;
}

testOnServers('exports', async (t, server) => {
  await t.test('CSV has every row by time and key, plain and compressed, with a manifest', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder } = database;
    await client.query(ISO);
    await insertTicks(client, { count: 3000, symbols: ['AAPL', 'NVDA', 'ÄÖ"X', '=1+1'] });
    // two symbols at one time, and two ticks of one
    await client.query(`INSERT INTO tick_data (provider, symbol, price, ts, seq) VALUES
      ('ibkr', 'NVDA', 1e-7, '2025-02-03 00:00:00.000001+00', 2), ('ibkr', 'NVDA', 123456789.125, '2025-02-03 00:00:00.000001+00', 1),
      ('ibkr', 'AAPL', -0.1, '2025-02-03 00:00:00.000001+00', 9223372036854775807), ('other', 'AAPL', 1, '2025-02-03', 1)`);
    const report = await database.export('deep/er/ticks.csv');
    const text = await readFile(join(folder, 'deep/er/ticks.csv'), 'utf8');
    const { rows } = await client.query<{ line: string }>(
      ORACLE.replace('FROM tick_data', "FROM tick_data WHERE provider = 'ibkr'"),
    );
    const expected = rows.map(({ line }) =>
      line.replace('ÄÖ"X', '"ÄÖ""X"').replace(',1e-07,', ',1e-7,').replace(/,-0,/, ',0,'),
    );
    t.equal(text, `${HEADER}${expected.join('\n')}\n`);
    const { manifest } = report;
    t.match(manifest, {
      rows: 3003,
      min_ts: '2025-01-06T00:00:00.000000Z',
      max_ts: '2025-02-03T00:00:00.000001Z',
      snapshot: /^\d+:\d+:/,
      system_identifier: /^\d+$/,
      files: [{ path: 'ticks.csv', rows: 3003, sha256: createHash('sha256').update(text).digest('hex') }],
    });
    t.strictSame(
      JSON.parse(await readFile(join(folder, 'deep/er/ticks.csv.manifest.json'), 'utf8')),
      manifest,
    );
    await database.export('ticks.csv.gz');
    t.equal(gunzipSync(await readFile(join(folder, 'ticks.csv.gz'))).toString(), text);
    await database.export('ticks.csv.zst');
    t.equal(zstdDecompressSync(await readFile(join(folder, 'ticks.csv.zst'))).toString(), text);
    t.strictSame(
      (await readdir(folder)).filter((name) => name.startsWith('.')),
      [],
    );
    await database.export('safe.csv', { symbols: ['=1+1'], options: { isForSpreadsheets: true } });
    t.match(await readFile(join(folder, 'safe.csv'), 'utf8'), /^ibkr,'=1\+1,/m);

    const job = await client.query(
      "SELECT * FROM job_runs WHERE job_name = 'tick_export' ORDER BY id LIMIT 1",
    );
    t.match(job.rows[0], {
      status: 'success',
      provider: 'ibkr',
      rows_written: '3003',
      metadata: { output: join(folder, 'deep/er/ticks.csv'), dataset: 'ticks' },
    });
  });

  await t.test(
    'the same request gives the same bytes, also once more came and was asked for as of then',
    async (t) => {
      const database = await exportDatabase(t, await server.createDatabase());
      const { client, folder } = database;
      await insertTicks(client, { count: 5000 });
      for (const name of ['a.csv.gz', 'a.parquet']) {
        const first = (await database.export(name)).manifest;
        const again = (await database.export(name)).manifest;
        t.equal(again?.files[0].sha256, first?.files[0].sha256);
        await insertTicks(client, { count: 400, from: '2025-01-06', seqFrom: 1_000_000 });
        const later = (await database.export(name)).manifest;
        t.not(later?.files[0].sha256, first?.files[0].sha256);
        const asOf = (await database.export(`of-${name}`, { options: { asOf: first } })).manifest;
        t.equal(asOf?.files[0].sha256, first?.files[0].sha256);
        t.equal(asOf?.snapshot, first?.snapshot);
        await client.query('DELETE FROM tick_data WHERE seq >= 1000000');
      }
      const { rows } = await client.query<{ us: string }>(
        'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us',
      );
      const time = BigInt(rows[0].us);
      const before = (await database.export('b.csv')).manifest;
      await insertTicks(client, { count: 10, from: '2025-03-01' });
      const asOf = (await database.export('c.csv', { options: { asOf: time } })).manifest;
      t.equal(asOf?.files[0].sha256, before?.files[0].sha256);
      await t.rejects(
        database.export('d.csv', { options: { asOf: time + 3_600_000_000n } }),
        exportError('not_settled'),
      );
      await client.query('DELETE FROM tick_data WHERE seq < 10');
      await t.rejects(database.export('d.csv', { options: { asOf: before } }), exportError('differs'));
      await t.rejects(
        database.export('d.csv', { options: { asOf: { ...(before as Manifest), system_identifier: '1' } } }),
        exportError('manifest', /another database cluster/),
      );
      t.notOk((await readdir(folder)).includes('d.csv'));
    },
  );

  await t.test('increments have what came since, also of transactions that were open', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder, store } = database;
    await insertTicks(client, { count: 100 });
    const other = await store.connect('open transaction');
    t.teardown(() => other.end());
    await other.query('BEGIN');
    // within a chunk that is there: TimescaleDB locks the table of one that it makes
    await insertTicks(other, { count: 7, symbols: ['AAPL'], seqFrom: 10_000 });
    // it commits later, and has a higher number
    await insertTicks(client, { count: 3, symbols: ['NVDA'], seqFrom: 20_000 });
    const options = { isIncremental: true };
    t.equal((await database.export('t.csv', { options })).rows, 103);
    await other.query('COMMIT');
    await insertTicks(client, { count: 5, from: '2025-01-09', symbols: ['NEW'] });
    const second = await database.export('t.csv', { options });
    t.match(second, { rows: 12, manifest: { part: 1, files: [{ path: 't.part-0001.csv' }] } });
    t.match(await database.export('t.csv', { options }), { rows: 0, manifest: null });
    await insertTicks(client, { count: 2, from: '2026-02-01', symbols: ['AAPL'] });
    const wider = await database.export('t.csv', { end: 1_800_000_000_000_000n, options });
    t.match(wider, { rows: 2, manifest: { part: 2, since: second.manifest?.snapshot } });
    await t.rejects(database.export('t.csv', { options }), exportError('manifest', /not within/));
    await t.rejects(database.export('t.csv', { provider: 'other', options }), exportError('manifest'));
    const texts = await Promise.all(
      ['t.csv', 't.part-0001.csv', 't.part-0002.csv'].map((name) => readFile(join(folder, name), 'utf8')),
    );
    const lines = texts.flatMap((text) => text.split('\n').slice(1, -1));
    t.equal(new Set(lines).size, 117);
    t.equal(lines.length, 117);
    // from the beginning: the parts are gone
    t.equal((await database.export('t.csv')).rows, 115);
    t.strictSame(await readdir(folder), ['t.csv', 't.csv.manifest.json']);
  });

  await t.test('a partitioned dataset has a file for each day and symbol', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder } = database;
    await insertTicks(client, { count: 20, symbols: ['A/B', 'NVDA'] });
    await insertTicks(client, { count: 4, from: '2025-03-01', symbols: ['NVDA'] });
    const partitionBy = ['day', 'symbol'] as const;
    const report = await database.export('set', { partitionBy, form: 'csv' });
    t.strictSame(
      report.manifest?.files.map(({ path, rows }) => [path, rows]),
      [
        ['day=2025-01-06/symbol=A%2FB/part-0000.csv', 10],
        ['day=2025-01-06/symbol=NVDA/part-0000.csv', 10],
        ['day=2025-03-01/symbol=NVDA/part-0000.csv', 4],
      ],
    );
    const text = await readFile(join(folder, 'set/day=2025-03-01/symbol=NVDA/part-0000.csv'), 'utf8');
    t.equal(text.split('\n')[0], 'provider,price,ts,size,bid,ask,side,seq,created_at');
    await insertTicks(client, { count: 1, from: '2025-03-01', symbols: ['NVDA'], seqFrom: 500 });
    const options = { isIncremental: true };
    t.match(await database.export('set', { partitionBy, form: 'csv', options }), {
      rows: 1,
      manifest: { part: 1, files: [{ path: 'day=2025-03-01/symbol=NVDA/part-0001.csv' }] },
    });
    await client.query("DELETE FROM tick_data WHERE symbol = 'A/B'");
    await database.export('set', { partitionBy, form: 'csv' });
    const all = (await readdir(join(folder, 'set'), { recursive: true, withFileTypes: true })).filter(
      (each) => each.isFile(),
    );
    t.strictSame(all.map(({ name }) => name).sort(), [
      '_manifest-0000.json',
      'part-0000.csv',
      'part-0000.csv',
    ]);
    await writeFile(join(folder, 'file.txt'), 'mine');
    await t.rejects(database.export('.', { partitionBy, form: 'csv' }), exportError('not_empty'));
  });

  await t.test(
    'bars as of an earlier export are what they were, with their corrections undone',
    async (t) => {
      const database = await exportDatabase(t, await server.createDatabase());
      const { client } = database;
      const columns =
        'provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final';
      await client.query(
        `INSERT INTO bars_ohlcv (${columns}) VALUES ${bar('2025-01-06 00:00Z', 2)}, ${bar('2025-01-06 00:01Z', 3)}`,
      );
      const request = { dataset: 'bars', intervals: ['1m'] } as const;
      const first = (await database.export('bars.csv', request)).manifest;
      const correct = async (close: number): Promise<void> => {
        await client.query(`
        WITH kept AS (
          INSERT INTO bars_history (${columns}, revision, created_at, updated_at, written_tx)
          SELECT ${columns}, revision, created_at, updated_at, tx FROM bars_ohlcv WHERE ts = '2025-01-06 00:01Z')
        UPDATE bars_ohlcv SET close = ${close}, revision = revision + 1, updated_at = now(), tx = pg_current_xact_id()
         WHERE ts = '2025-01-06 00:01Z'`);
      };
      await correct(4);
      const second = (await database.export('bars.csv', request)).manifest;
      await correct(5);
      await client.query(`INSERT INTO bars_ohlcv (${columns}) VALUES ${bar('2025-01-06 00:02Z', 3)}`);
      for (const [asOf, rows] of [
        [first, 2],
        [second, 2],
      ] as const) {
        const report = await database.export('asof.csv', { ...request, options: { asOf } });
        t.equal(report.rows, rows);
        t.equal(report.manifest?.files[0].sha256, asOf?.files[0].sha256);
      }
      t.not(first?.files[0].sha256, second?.files[0].sha256);
      t.match(await database.export('bars.csv', { ...request, run: 'all', options: {} }), { rows: 3 });
      await t.rejects(database.export('bars7.csv', { ...request, run: 7n }), exportError('unknown_symbol'));
      t.match(await database.export('bars7.csv', { ...request, run: 7n, symbols: ['NVDA'] }), { rows: 0 });
      const later = await database.export('inc.csv', { ...request, options: { isIncremental: true } });
      await correct(6);
      t.match(await database.export('inc.csv', { ...request, options: { isIncremental: true } }), {
        rows: 1,
      });
      t.equal(later.rows, 3);
    },
  );

  await t.test('signals of one run or of all', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder } = database;
    await client.query(`INSERT INTO signals (provider, symbol, ts, name, value, score, metadata, replay_run_id) VALUES
      ('ibkr', 'NVDA', '2025-01-06', 'spread_bps', 1.5, null, '{"price": 2}', 0),
      ('ibkr', 'NVDA', '2025-01-06', 'spread_bps', 2.5, 0.25, null, 42)`);
    const request = { dataset: 'signals', symbols: ['NVDA'] } as const;
    await database.export('s.csv', { ...request, run: 'all' });
    const lines = (await readFile(join(folder, 's.csv'), 'utf8')).split('\n');
    t.equal(lines[0], 'provider,symbol,ts,name,value,score,metadata,replay_run_id,created_at');
    t.match(lines[1], /^ibkr,NVDA,2025-01-06T00:00:00\.000000Z,spread_bps,1\.5,,"\{""price"": 2\}",0,/);
    t.match(lines[2], /^ibkr,NVDA,2025-01-06T00:00:00\.000000Z,spread_bps,2\.5,0\.25,,42,/);
    t.equal((await database.export('s.csv', { ...request, run: 42n })).rows, 1);
    t.equal((await database.export('s.csv', request)).rows, 1);
  });

  await t.test('what is not known, and what is in the way, is said; nothing is left', async (t) => {
    const database = await exportDatabase(t, await server.createDatabase());
    const { client, folder } = database;
    await insertTicks(client, { count: 10 });
    await t.rejects(
      database.export('x.csv', { symbols: ['NVDA', 'NOPE'] }),
      exportError('unknown_symbol', 'nothing is known of NOPE of the provider ibkr'),
    );
    await t.rejects(database.export('x.csv', { provider: 'nobody' }), exportError('unknown_symbol'));
    await writeFile(join(folder, 'file'), '');
    await t.rejects(database.export('file/x.csv'), targetError('in_the_way'));
    await t.rejects(database.export('.', { form: 'csv' }), targetError('in_the_way'));
    const stopping = AbortSignal.abort();
    await t.rejects(database.export('x.csv', { options: { stopping } }), { name: 'CancelledError' });
    t.strictSame(await readdir(folder), ['file']);
    const { rows } = await client.query(
      'SELECT status, error_message FROM job_runs ORDER BY id DESC LIMIT 2',
    );
    t.match(rows, [{ status: 'cancelled' }, { status: 'failed', error_message: /is a folder/ }]);
  });
});
