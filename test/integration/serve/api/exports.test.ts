import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { envOf } from '../../../../src/core/env.ts';
import { Reading } from '../../../../src/serve/api/reading.ts';
import { exportRoutes } from '../../../../src/serve/api/routes/exports.ts';
import { ExportJobs } from '../../../../src/serve/export/export-jobs.ts';
import { ReadPool } from '../../../../src/store/queries/read-pool.ts';
import { startApi, type Answer } from '../../../support/api/server.ts';
import { exportDatabase, insertTicks } from '../../../support/export/export-database.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const BODY = {
  dataset: 'ticks',
  provider: 'ibkr',
  symbols: ['nvda'],
  start: '2025-01-01T00:00:00Z',
  end: '2026-01-01T00:00:00Z',
  output: 'ticks/nvda.csv',
};

void test('exports over HTTP', async (t) => {
  const postgres = await sharedPostgres();
  t.teardown(() => postgres.stop());
  const database = await exportDatabase(t, await postgres.createDatabase());
  const { url, store, folder, client } = database;
  await insertTicks(client, { count: 1000 });
  const pool = new ReadPool({ databaseUrl: url });
  t.teardown(() => pool.close());
  const directory = join(folder, 'exports');
  const exports = new ExportJobs({ directory, databaseUrl: url, jobRuns: store.jobRuns, env: envOf() });
  t.teardown(() => exports.close());
  const api = await startApi(t, { routes: [exportRoutes(new Reading(pool), exports)] });
  const raw = (method: string, path: string, body?: unknown): Promise<Answer> =>
    api.ask({
      method,
      path,
      headers: {
        host: `127.0.0.1:${api.port}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }> => {
    const answer = await raw(method, path, body);
    return { status: answer.status, body: JSON.parse(answer.text) as Record<string, unknown> };
  };
  const finished = (id: unknown): Promise<Record<string, unknown>> =>
    until('the export has ended', async () => {
      const { body } = await ask('GET', `/v1/exports/${String(id)}`);
      return body['status'] !== 'running' && body;
    });

  await t.test('started, looked at, downloaded', async (t) => {
    const started = await ask('POST', '/v1/exports', BODY);
    t.match(started, { status: 202, body: { status: 'running', output: 'ticks/nvda.csv' } });
    const id = started.body['run_id'];
    t.match(await finished(id), {
      id,
      job_name: 'tick_export',
      status: 'success',
      rows_written: 500,
      symbols: ['NVDA'],
      metadata: { output: 'ticks/nvda.csv' },
    });
    t.match((await ask('GET', '/v1/exports?status=success')).body, { items: [{ id }], next: null });
    const { body } = await ask('GET', `/v1/exports/${String(id)}/files`);
    const stored = await readFile(join(directory, 'ticks/nvda.csv'), 'utf8');
    const sha256 = createHash('sha256').update(stored).digest('hex');
    t.match(body, { items: [{ path: 'ticks/nvda.csv', rows: 500, sha256 }] });
    const file = await raw('GET', `/v1/exports/${String(id)}/download`);
    t.equal(file.status, 200);
    t.equal(file.text, stored);
    t.match(file.headers, {
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="nvda.csv"',
    });
    const missing = await ask('GET', `/v1/exports/${String(id)}/download?file=../../etc/passwd`);
    t.match(missing, { status: 404, body: { error: { code: 'not_found' } } });
    t.match(await ask('POST', `/v1/exports/${String(id)}/cancel`), { status: 409 });
  });

  await t.test('a dataset has several files, each by its name', async (t) => {
    const asked = { ...BODY, symbols: undefined, output: 'set', partition_by: ['day', 'symbol'] };
    const { run_id: id } = (await ask('POST', '/v1/exports', asked)).body;
    t.match(await finished(id), { status: 'success' });
    t.match(await ask('GET', `/v1/exports/${String(id)}/download`), { status: 409 });
    const path = 'set/day=2025-01-06/symbol=AAPL/part-0000.parquet';
    const file = await raw('GET', `/v1/exports/${String(id)}/download?file=${encodeURIComponent(path)}`);
    t.match(file, { status: 200, headers: { 'content-type': 'application/vnd.apache.parquet' } });
  });

  await t.test('mistakes are refused, and say where they are', async (t) => {
    const refused: [Record<string, unknown>, string][] = [
      [{ output: '../x.csv' }, 'body.output'],
      [{ output: '/etc/x.csv' }, 'body.output'],
      [{ output: 'x.txt' }, 'body.output'],
      [{ start: BODY.end }, 'body.start'],
      [{ provider: undefined }, 'body.provider'],
      [{ dataset: 'bars', interval: ['1x'] }, 'body.interval'],
      [{ dataset: 'everything' }, 'body.dataset'],
      [{ excel_safe: true, output: 'x.parquet' }, 'body.excel_safe'],
    ];
    for (const [change, path] of refused) {
      const answer = await ask('POST', '/v1/exports', { ...BODY, ...change });
      t.match(answer, { status: 400, body: { error: { code: 'bad_request', details: [{ path }] } } }, path);
    }
    const unknown = await ask('POST', '/v1/exports', { ...BODY, symbols: ['NOPE'] });
    t.match(await finished(unknown.body['run_id']), {
      status: 'failed',
      error_message: /nothing is known of NOPE/,
    });
    t.match(await ask('GET', '/v1/exports/999999'), { status: 404 });
    t.match(await ask('POST', '/v1/exports/999999/cancel'), { status: 404 });
    t.match(await ask('GET', '/v1/exports/999999/download'), { status: 404 });
    // one of a command, elsewhere
    const { runId } = await database.export('elsewhere.csv');
    t.match(await ask('GET', `/v1/exports/${runId}/download`), { status: 404 });
  });

  await t.test('without a folder nothing is exported', async (t) => {
    const none = await startApi(t, { routes: [exportRoutes(new Reading(pool), null)] });
    const answer = await none.ask({
      method: 'POST',
      path: '/v1/exports',
      headers: { host: `127.0.0.1:${none.port}`, 'content-type': 'application/json' },
      body: JSON.stringify(BODY),
    });
    t.equal(answer.status, 404);
    t.match(answer.text, /EXPORT_DIR is not set/);
  });
});
