import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { after, test, type Test } from 'tap';
import { systemClock } from '../../../../src/core/time.ts';
import { registerDb } from '../../../../src/run/cli/db.ts';
import { registerDlq } from '../../../../src/run/cli/dlq/dlq.ts';
import { registerQuality } from '../../../../src/run/cli/chain/quality.ts';
import { registerStream } from '../../../../src/run/cli/stream/stream.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { runInProcess } from '../../../support/run/command-in-process.ts';
import { runCommand } from '../../../support/run/command.ts';
import { Program } from '../../../support/run/program.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

interface Place {
  url: string;
  /** of streaming.yaml with this bus */
  config(bus: 'postgres' | 'redis'): Promise<string>;
  migrate(upTo?: string): Promise<void>;
  count(table: string): Promise<number>;
  createSchema(name: string): Promise<void>;
}

async function placeOf(t: Test): Promise<Place> {
  postgres ??= await sharedPostgres();
  const url = await postgres.createDatabase(undefined, { schema: false });
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  const folder = await mkdtemp(join(tmpdir(), 'tick-schema-'));
  t.after(async () => {
    await client.end();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    url,
    async config(bus) {
      const file = join(folder, `${bus}.yaml`);
      // nobody listens there: what is wrong with the database is said before a bus is looked for
      await writeFile(file, `version: 1\nbus: { type: ${bus}, redis: { uri: "redis://127.0.0.1:1/0" } }\n`);
      return file;
    },
    async migrate(upTo) {
      await migrate(client, upTo === undefined ? {} : { upTo });
    },
    async createSchema(name) {
      await client.query(`CREATE SCHEMA ${name}`);
    },
    async count(table) {
      const { rows } = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
      return rows[0]?.n ?? -1;
    },
  };
}

const PRODUCE = ['stream', 'produce', '--metrics-port', '0', '--provider'];

void test('a command that finds the schema behind names the command that mends it, and ends with 1', async (t) => {
  const place = await placeOf(t);
  const [inDatabase, redis] = [await place.config('postgres'), await place.config('redis')];
  const register = (program: Command): void => {
    const env = { databaseUrl: place.url, clock: systemClock };
    registerDb(program, env);
    registerDlq(program, { ...env, tickBytesMax: () => 1024 });
    registerQuality(program, env);
    registerStream(program, env);
  };
  const check = (called: string, { code, err }: { code: number | null; err: string }): void => {
    t.equal(code, 1, called);
    t.match(err, /^[^\n]*schema is behind[^\n]*mdp db migrate[^\n]*\n$/i, called);
  };
  const onBus = [
    ['stream', 'tail', '--config', inDatabase],
    ['stream', 'groups', '--config', inDatabase],
    ['dlq', 'list', '--bus', '--config', inDatabase],
  ];
  const onChain = [['dlq', 'list'], ['dlq', 'show', '1'], ['dlq', 'retry', '--all'], ['quality']];
  for (const args of [...onBus, ...onChain, ['db', 'status', '--check']])
    check(args.join(' '), await runInProcess(register, ...args));
  const env = { DATABASE_URL: place.url, CONTINUUM_GRPC_URL: '127.0.0.1:1', ENV: 'production' };
  const programs: ['mdp' | 'tick-ingester', ...string[]][] = [
    ['mdp', ...PRODUCE, 'synthetic', '--config', inDatabase],
    ['mdp', ...PRODUCE, 'continuum', '--config', redis],
    ['tick-ingester', 'verify'],
    ['tick-ingester', 'status'],
    ['tick-ingester', 'skip', '--tick', '5'],
    ['tick-ingester', 'raise-floor'],
    ['tick-ingester', 'resume', '--accept', 'poison'],
  ];
  for (const [program, ...args] of programs) {
    const { code, stdout, stderr } = await runCommand(program, args, env);
    check(`${program} ${args.join(' ')}`, { code, err: stderr });
    t.notMatch(stdout, /does not answer|no answer/);
  }
  // half of it is there: the chain's own commands need no other file than the first
  await place.migrate('001');
  for (const args of onBus) check(args.join(' '), await runInProcess(register, ...args));
  const [program, ...args] = programs[1];
  const { code, stderr } = await runCommand(program, args, env);
  check('produce', { code, err: stderr });
});

void test('a search_path without a schema is said as what it is, and the daemon goes on once there is one', async (t) => {
  const place = await placeOf(t);
  const inDatabase = await place.config('postgres');
  const said = /search_path \((""|tenant)\) names no schema of this database/;
  const url = (path: string): string => {
    const found = new URL(place.url);
    found.searchParams.set('options', `-csearch_path=${path}`);
    return found.href;
  };
  for (const path of ['""', 'tenant']) {
    const register = (program: Command): void => {
      const env = { databaseUrl: url(path), clock: systemClock };
      registerDb(program, env);
      registerDlq(program, { ...env, tickBytesMax: () => 1024 });
      registerQuality(program, env);
      registerStream(program, env);
    };
    const onBus = [
      ['stream', 'tail', '--config', inDatabase],
      ['stream', 'groups', '--config', inDatabase],
      ['dlq', 'list', '--bus', '--config', inDatabase],
    ];
    for (const args of [['db', 'migrate'], ['db', 'status'], ['dlq', 'list'], ['quality'], ...onBus]) {
      const { code, err } = await runInProcess(register, ...args);
      t.equal(code, 1);
      t.match(err, said, `${args.join(' ')} with ${path}`);
      t.notMatch(err, /db migrate\b.*\n.*db migrate|Run .*migrate/);
    }
  }
  const lines: Record<string, unknown>[] = [];
  const daemon = new Program(
    'tick-ingester',
    [],
    {
      DATABASE_URL: url('tenant'),
      CONTINUUM_GRPC_URL: '127.0.0.1:1',
      DB_MIGRATE: 'auto',
      HEALTH_CHECK_PORT: '0',
    },
    (line) => lines.push(line),
  );
  t.after(() => daemon.kill());
  const line = await until('it says it', () => lines.find(({ msg }) => said.test(String(msg))), {
    context: () => daemon.tail,
  });
  t.match(line, { level: 'error', msg: /create schema.*goes on by itself/ });
  await place.createSchema('tenant');
  await until('it is applied', () => lines.some(({ msg }) => msg === 'Applied schema file'), {
    deadlineMs: 30_000,
    context: () => daemon.tail,
  });
  t.equal(await daemon.stop(), 0);
});

void test('a consumer says it, waits, and goes on by itself', async (t) => {
  const place = await placeOf(t);
  const config = await place.config('postgres');
  for (const role of ['ticks', 'micro-batch']) {
    const lines: Record<string, unknown>[] = [];
    const program = new Program(
      'mdp',
      ['stream', role, '--metrics-port', '0', '--config', config],
      { DATABASE_URL: place.url },
      (line) => lines.push(line),
    );
    t.after(() => program.kill());
    if (role === 'ticks') {
      const said = await until('it says it', () =>
        lines.find(({ msg }) => String(msg).startsWith('The schema is behind')),
      );
      t.match(said, { level: 'error', msg: /003_bus_log\.sql.* not applied\. Run "mdp db migrate"/ });
      await place.migrate();
    }
    await until('it has started', () => lines.some(({ msg }) => String(msg).endsWith(' started')), {
      context: () => program.tail,
    });
    t.equal(await program.stop(), 0);
  }
});

void test('with DB_MIGRATE=auto it is applied', async (t) => {
  const place = await placeOf(t);
  const args = [
    ...PRODUCE,
    'synthetic',
    '--count',
    '3',
    '--rate',
    '0',
    '--config',
    await place.config('postgres'),
  ];
  const env = { DATABASE_URL: place.url, DB_MIGRATE: 'auto', ENV: 'production' };
  const { code, stdout } = await runCommand('mdp', args, env);
  t.equal(code, 0, stdout);
  t.match(stdout, /Applied schema file/);
  t.equal(await place.count(`bus_read('mdp.events', 0, 0, 100, 100, 1000000)`), 3);
});

void test('a database that does not exist is no outage', async (t) => {
  const place = await placeOf(t);
  const url = new URL(place.url);
  url.pathname = '/nothing_of_this_name';
  for (const command of [
    [...PRODUCE, 'synthetic'],
    ['stream', 'ticks', '--metrics-port', '0'],
  ]) {
    const args = [...command, '--config', await place.config('redis')];
    const { code, stderr } = await runCommand('mdp', args, { DATABASE_URL: url.href });
    t.equal(code, 1);
    t.match(stderr, /Failed to connect to database.*Create the database/);
  }
});
