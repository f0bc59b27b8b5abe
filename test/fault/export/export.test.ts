import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { exportDatabase, insertTicks } from '../../support/export/export-database.ts';
import { runCommand } from '../../support/run/command.ts';
import { Program } from '../../support/run/program.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { smallDisk } from '../../support/servers/small-disk.ts';
import { until } from '../../support/until.ts';

const RANGE = ['--provider', 'ibkr', '--start', '2025-01-01', '--end', '2026-01-01'];
/** some MB */
const TICKS = 300_000;

void test('exports that are interrupted', async (t) => {
  const postgres = await sharedPostgres();
  t.teardown(() => postgres.stop());
  const database = await exportDatabase(t, await postgres.createDatabase());
  const { client, url, folder } = database;
  await insertTicks(client, { count: TICKS });
  const env = { DATABASE_URL: url };

  /** Begins one, and waits until a part of it is written aside. */
  async function half(output: string): Promise<Program> {
    const program = new Program('mdp', ['export', 'ticks', ...RANGE, '--output', output], env);
    await until('a part is written aside', async () => {
      const names = await readdir(folder);
      return names.some((name) => name.startsWith('.') && name.endsWith('.part')) || program.end !== null;
    });
    return program;
  }

  await t.test('killed, it leaves no file, and the next one is whole and has the same digest', async (t) => {
    for (const name of ['killed.csv', 'killed.parquet']) {
      const output = join(folder, name);
      const program = await half(output);
      await program.kill();
      t.equal(program.end?.signal, 'SIGKILL');
      t.notOk(existsSync(output));
      const again = await runCommand('mdp', ['export', 'ticks', ...RANGE, '--output', output, '--json'], env);
      t.equal(again.code, 0, again.stderr);
      const { files } = JSON.parse(again.stdout) as { files: { sha256: string }[] };
      const other = await database.export(`other-${name}`);
      t.equal(files[0].sha256, other.manifest?.files[0].sha256);
      // what the killed one left aside is gone as well
      t.strictSame(
        (await readdir(folder)).filter((left) => left.startsWith('.')),
        [],
      );
    }
  });

  await t.test('Ctrl-C, and job_runs, cancel it', async (t) => {
    const output = join(folder, 'cancelled.csv.gz');
    const program = await half(output);
    program.signal('SIGINT');
    await program.ended;
    t.match(program.end, { code: 1, signal: null });
    t.match(program.tail, /cancelled/);
    const { rows } = await client.query('SELECT status FROM job_runs ORDER BY id DESC LIMIT 1');
    t.strictSame(rows, [{ status: 'cancelled' }]);
    t.notOk(existsSync(output));
    t.strictSame(
      (await readdir(folder)).filter((left) => left.startsWith('.')),
      [],
    );
  });

  await t.test('a full disk is said, and nothing is left on it', async (t) => {
    const disk = await smallDisk(8 * 1024 * 1024, folder);
    if (typeof disk === 'string') return t.plan(0, disk);
    t.teardown(() => disk.close());
    for (const name of ['t.csv', 't.csv.gz', 't.parquet']) {
      if (name !== 't.csv') await disk.fill(128 * 1024);
      const output = join(disk.folder, name);
      const ended = await runCommand('mdp', ['export', 'ticks', ...RANGE, '--output', output], env);
      t.equal(ended.code, 1, ended.stdout);
      t.match(ended.stderr, /cannot write .*: no space is left on the device \(ENOSPC\)/);
      if (name !== 't.csv') await disk.release();
      t.strictSame(
        (await readdir(disk.folder)).filter((left) => left.includes(name)),
        [],
      );
    }
  });

  await t.test('a mistake is one line, and exit code 1 or 2', async (t) => {
    const mistakes: [string[], number, RegExp][] = [
      [['--symbols', 'NOPE', '--output', 'x.csv'], 1, /nothing is known of NOPE of the provider ibkr/],
      [['--output', 'x.txt'], 2, /names no format/],
      [['--output', '/proc/x/y.csv'], 1, /cannot write \/proc\/x/],
      [['--output', 'ftp://host/x.csv'], 1, /known are paths, s3:\/\/ and gs:\/\//],
      [['--output', 'x.csv', '--as-of', '/nowhere.json'], 2, /there is no such manifest/],
      [['--output', 'x.csv', '--incremental', '--as-of', '2025-01-01'], 2, /exclude each other/],
      [['--output', 'x.parquet', '--excel-safe'], 2, /is for CSV/],
      [['--output', 'x', '--partition-by', 'hour'], 2, /Expected day, symbol/],
    ];
    for (const [args, code, words] of mistakes) {
      const ended = await runCommand('mdp', ['export', 'ticks', ...RANGE, ...args], env);
      t.equal(ended.code, code, `${args.join(' ')}: ${ended.stderr}`);
      t.match(ended.stderr, words);
    }
    const turned = [
      '--provider',
      'ibkr',
      '--start',
      '2025-02-01',
      '--end',
      '2025-01-01',
      '--output',
      'x.csv',
    ];
    t.match(await runCommand('mdp', ['export', 'ticks', ...turned], env), {
      code: 2,
      stderr: /--start is not before --end/,
    });
    const elsewhere = await mkdtemp(join(tmpdir(), 'tick-export-'));
    t.teardown(() => rm(elsewhere, { recursive: true }));
    const done = await runCommand(
      'mdp',
      ['export', 'ticks', ...RANGE, '--output', join(elsewhere, 'a/b/t.csv')],
      env,
    );
    t.match(done, { code: 0, stdout: new RegExp(`^${TICKS} rows, `) });
    t.equal((await readFile(join(elsewhere, 'a/b/t.csv'), 'utf8')).split('\n').length, TICKS + 2);
  });
});
