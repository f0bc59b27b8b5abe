import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { envOf } from '../../../../src/core/env.ts';
import {
  ExportJobs,
  type ExportJob,
  type ExportJobsOptions,
} from '../../../../src/serve/export/export-jobs.ts';
import { exportDatabase, insertTicks, TICKS } from '../../../support/export/export-database.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const JOB: Omit<ExportJob, 'output'> = {
  request: TICKS,
  form: null,
  partitionBy: [],
  isForSpreadsheets: false,
  isIncremental: false,
};

void test('exports of the API stay in their directory', async (t) => {
  const postgres = await sharedPostgres();
  t.teardown(() => postgres.stop());
  const database = await exportDatabase(t, await postgres.createDatabase());
  const { client, folder, store, url } = database;
  await insertTicks(client, { count: 2000 });
  const directory = join(folder, 'exports');
  const jobsOf = (more: Partial<ExportJobsOptions> = {}): ExportJobs => {
    const jobs = new ExportJobs({
      directory,
      databaseUrl: url,
      jobRuns: store.jobRuns,
      env: envOf(),
      ...more,
    });
    t.teardown(() => jobs.close());
    return jobs;
  };
  const ended = (
    id: number,
  ): Promise<{ status: string; error_message: string | null; metadata: { output: string } }> =>
    until('the run has ended', async () => {
      const { rows } = await client.query<{
        status: string;
        error_message: string | null;
        metadata: { output: string };
      }>("SELECT status, error_message, metadata FROM job_runs WHERE id = $1 AND status <> 'running'", [id]);
      return rows[0];
    });

  await t.test('a file and a dataset are there, for us alone, and can be read', async (t) => {
    const jobs = jobsOf();
    const id = await jobs.start({ ...JOB, output: 'a/b/t.csv' });
    t.match(await ended(id), { status: 'success', metadata: { output: 'a/b/t.csv' } });
    t.equal((await stat(join(directory, 'a/b/t.csv'))).mode & 0o777, 0o600);
    const handle = await (await jobs.target()).openFile('a/b/t.csv');
    t.equal((await handle?.readFile())?.toString(), await readFile(join(directory, 'a/b/t.csv'), 'utf8'));
    await handle?.close();
    t.ok(await (await jobs.target()).read('a/b/t.csv.manifest.json'));
    const set = await jobs.start({ ...JOB, output: 'set', partitionBy: ['day', 'symbol'] });
    t.match(await ended(set), { status: 'success' });
    t.ok(await (await jobs.target()).read('set/day=2025-01-06/symbol=NVDA/part-0000.parquet'));
    t.match(await ended(await jobs.start({ ...JOB, output: 'set', partitionBy: ['day', 'symbol'] })), {
      status: 'success',
    });
  });

  await t.test('no path leaves it', async (t) => {
    const jobs = jobsOf();
    const outside = join(folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret.csv'), 'secret');
    for (const output of [
      '../x.csv',
      '/etc/x.csv',
      'a/../../x.csv',
      '.hidden.csv',
      'a//b.csv',
      'a\\b.csv',
      'a\0.csv',
      '',
      'a/',
      '~/x.csv',
      's3://b/x.csv',
      `${'a/'.repeat(9)}x.csv`,
    ])
      await t.rejects(jobs.start({ ...JOB, output }), { name: 'TargetError' }, JSON.stringify(output));
    await symlink(outside, join(directory, 'link'));
    t.match(await ended(await jobs.start({ ...JOB, output: 'link/x.csv' })), {
      status: 'failed',
      error_message: /leads out/,
    });
    await symlink(join(outside, 'secret.csv'), join(directory, 'secret.csv'));
    const target = await jobs.target();
    t.equal(await target.openFile('secret.csv'), null);
    t.equal(await target.openFile('link/secret.csv'), null);
    t.equal(await target.openFile('a'), null);
    // a link in place of the file is replaced, and what it names stays
    t.match(await ended(await jobs.start({ ...JOB, output: 'secret.csv' })), { status: 'success' });
    t.equal(await readFile(join(outside, 'secret.csv'), 'utf8'), 'secret');
  });

  await t.test('a quota, a number at once, and one export to a place', async (t) => {
    const small = jobsOf({ directory: join(folder, 'small'), quotaBytes: 10_000 });
    t.match(await ended(await small.start({ ...JOB, output: 't.csv' })), {
      status: 'failed',
      error_message: /used up/,
    });
    const jobs = jobsOf({ runningMax: 1 });
    await insertTicks(client, { count: 200_000, symbols: ['BIG'], from: '2025-02-01' });
    const id = await jobs.start({ ...JOB, output: 'big.csv.gz' });
    await t.rejects(jobs.start({ ...JOB, output: 'other.csv' }), { name: 'TooManyExportsError' });
    await t.rejects(jobs.start({ ...JOB, output: 'big.csv.gz' }), {
      name: 'TargetError',
      message: /is running/,
    });
    t.ok(await jobs.cancel(id));
    t.match(await ended(id), { status: 'cancelled' });
    t.notOk(await jobs.cancel(999_999));
    await t.rejects(stat(join(directory, 'big.csv.gz')));
  });
});
