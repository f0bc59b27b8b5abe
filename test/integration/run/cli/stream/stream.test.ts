import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../../src/store/postgres/connect.ts';
import { runCommand, type Ended } from '../../../../support/run/command.ts';
import { freePort } from '../../../../support/servers/free-port.ts';
import { migrateAll } from '../../../../support/bus/postgres-bus.ts';
import { sharedPostgres, type SharedPostgres } from '../../../../support/servers/postgres.ts';
import { Program } from '../../../../support/run/program.ts';
import { redisMissing, startRedis } from '../../../../support/servers/redis.ts';
import { until } from '../../../../support/until.ts';

const MADE = 2_500;
const SYMBOLS = ['AAPL', 'MSFT', 'SPY'];
const EVENT = {
  provider: 'ibkr',
  symbol: 'SPY',
  kind: 'tick',
  src_ts: '2025-10-24T14:02:01.234567Z',
  price: 425.15,
  size: 100,
};

let postgres: SharedPostgres | null = null;
async function server(): Promise<SharedPostgres> {
  postgres ??= await sharedPostgres();
  return postgres;
}
after(() => postgres?.stop());

/** `mdp stream` on one bus and one database, both new. */
class Harness {
  readonly url: string;
  readonly client: Client;
  readonly config: string;
  readonly programs: Program[] = [];

  private constructor(url: string, client: Client, config: string) {
    this.url = url;
    this.client = client;
    this.config = config;
  }

  static async start(t: Test, bus: string): Promise<Harness> {
    const url = await (await server()).createDatabase(undefined, { schema: false });
    await migrateAll(url);
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    const folder = await mkdtemp(join(tmpdir(), 'tick-stream-'));
    const config = join(folder, 'streaming.yaml');
    await writeFile(config, `version: 1\nbus:\n  ${bus}\n`);
    const harness = new Harness(url, client, config);
    t.after(async () => {
      for (const program of harness.programs) if (program.end === null) await program.kill();
      await client.end();
      await rm(folder, { recursive: true, force: true });
    });
    return harness;
  }

  run(...args: string[]): Promise<Ended> {
    return runCommand('mdp', ['stream', ...args, '--config', this.config], { DATABASE_URL: this.url });
  }

  program(args: readonly string[], onLine?: (line: Record<string, unknown>) => void): Program {
    const program = new Program(
      'mdp',
      ['stream', ...args, '--config', this.config],
      { DATABASE_URL: this.url },
      onLine,
    );
    this.programs.push(program);
    return program;
  }

  produce(...more: string[]): Promise<Ended> {
    return this.run(
      ...'produce --provider synthetic --metrics-port 0 --rate 0 --start 2025-10-24 --seed 7'.split(' '),
      ...more,
    );
  }

  async stored(): Promise<number> {
    const { rows } = await this.client.query<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
    return rows[0]?.n ?? -1;
  }

  async runs(jobName: string): Promise<Record<string, unknown>[]> {
    const { rows } = await this.client.query<Record<string, unknown>>(
      `SELECT status, rows_written::int, symbols, error_message,
              min_ts::text, max_ts::text, completed_at IS NOT NULL AS completed
         FROM job_runs WHERE job_name = $1 ORDER BY id`,
      [jobName],
    );
    return rows;
  }
}

/** Fails at once when the program ends before it. */
function untilIn(program: Program, what: string, probe: () => Promise<boolean> | boolean): Promise<boolean> {
  return until(
    what,
    () => {
      if (program.end !== null) throw new Error(`it ended before ${what}:\n${program.tail}`);
      return probe();
    },
    { deadlineMs: 20_000, context: () => program.tail },
  );
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
const objects = (text: string): Record<string, unknown>[] =>
  lines(text).map((line) => JSON.parse(line) as Record<string, unknown>);

for (const name of ['redis', 'postgres'] as const) {
  const missing = name === 'redis' ? redisMissing() : null;
  void test(`${name}: produce, ticks, tail, groups`, { skip: missing ?? false }, async (t) => {
    let place = 'type: postgres';
    if (name === 'redis') {
      const redis = await startRedis();
      t.after(() => redis.stop());
      place = `type: redis\n  redis:\n    uri: ${redis.uri}`;
    }
    const harness = await Harness.start(t, place);

    await t.test('produce --count ends by itself, and is a run', async (t) => {
      const { code, stderr, stdout } = await harness.produce('--count', `${MADE}`);
      t.equal(code, 0, stderr + stdout);
      t.match(await harness.runs('produce'), [
        {
          status: 'success',
          rows_written: MADE,
          symbols: ['SPY', 'AAPL', 'MSFT'],
          error_message: null,
          completed: true,
        },
      ]);
    });

    await t.test('ticks stores all of them; SIGTERM ends it cleanly, and is a run', async (t) => {
      const program = harness.program(['ticks', '--consumer', 'tick-1', '--metrics-port', '0']);
      await untilIn(program, 'all are stored', async () => (await harness.stored()) === MADE);
      t.equal(await program.stop(), 0, program.tail);
      const { rows } = await harness.client.query(
        'SELECT min(ts)::text AS min_ts, max(ts)::text AS max_ts FROM tick_data',
      );
      const range = rows[0] as { min_ts: string; max_ts: string };
      t.match(await harness.runs('tick_consumer'), [
        { status: 'success', rows_written: MADE, symbols: SYMBOLS, completed: true, ...range },
      ]);
      t.match(await harness.runs('produce'), [range]);
    });

    await t.test('ticks once more: what was acknowledged does not come again', async (t) => {
      await harness.produce('--count', `${MADE + 10}`);
      let ticks = 0;
      const program = harness.program(['ticks', '--metrics-port', '0', '--batch-size', '7'], (line) => {
        if (line['msg'] === 'TickConsumer wrote batch') ticks += line['ticks'] as number;
      });
      await untilIn(program, 'the new ones are stored', async () => (await harness.stored()) === MADE + 10);
      t.equal(await program.stop(), 0, program.tail);
      t.equal(ticks, MADE + 10, 'those published twice are known');
    });

    await t.test('tail', async (t) => {
      const { code, stdout, stderr } = await harness.run(
        'tail',
        '--topic',
        'mdp.events',
        '--limit',
        '3',
        '--json', // prettier-ignore
      );
      t.equal(code, 0, stderr);
      const shown = objects(stdout);
      t.equal(shown.length, 3);
      for (const { event, msg_id: id, partition, taken_at: at } of shown) {
        t.match(event, { ver: 1, kind: 'tick', provider: 'synthetic', price: Number });
        t.match({ id, partition, at }, { id: /^\d+(-\d+)?$/, partition: 0, at: /^\d{4}-.*\.\d{6}Z$/ });
      }
      t.equal(lines((await harness.run('tail', '--topic', 'mdp.events')).stdout).length, 20, 'by default');
      t.equal((await harness.run('tail', '--topic', 'nobody.wrote.it')).stdout, '');
    });

    await t.test('tail --where', async (t) => {
      const newest = ['tail', '--topic', 'mdp.events', '--limit', '100', '--json', '--where'];
      const spy = objects((await harness.run(...newest, 'symbol == "SPY" && price > 1')).stdout);
      t.ok(spy.length > 10 && spy.length < 100, `${spy.length} of 100`);
      for (const { event } of spy) t.match(event, { symbol: 'SPY' });
      t.equal(
        (await harness.run(...newest, 'price < 0 || interval == "1s"')).stdout,
        '',
        'an absent field is null',
      );
      for (const bad of ['symbl == "SPY"', '1 + 1']) {
        const { code, stdout, stderr } = await harness.run(...newest, bad);
        t.equal(code, 2, bad);
        t.equal(stdout, '');
        t.equal(lines(stderr).length, 1, stderr);
        t.match(stderr, /CEL/);
      }
    });

    await t.test('tail --follow shows what comes, until SIGINT', async (t) => {
      const seen: Record<string, unknown>[] = [];
      const program = harness.program(
        ['tail', '--topic', 'mdp.events', '--limit', '1', '--follow', '--json'],
        (line) => seen.push(line),
      );
      await untilIn(program, 'it shows the newest', () => seen.length > 0);
      await harness.produce('--count', '5');
      await untilIn(program, 'it shows what came', () => seen.length === 6);
      program.signal('SIGINT');
      t.strictSame(await program.ended, { code: 0, signal: null }, program.tail);
    });

    await t.test('groups: a table, --json, and --drop', async (t) => {
      const table = await harness.run('groups');
      t.equal(table.code, 0, table.stderr);
      t.match(table.stdout, /^group +partition +members +pending +lag +age +acknowledged/);
      t.match(table.stdout, /^tick-consumer +0 +\d+ +0 +5 /m);
      t.match(table.stdout, new RegExp(`^${name}: \\d+ of 2147483648 bytes`, 'm'));
      const [{ topic, bus, groups, durability }] = objects(
        (await harness.run('groups', '--json')).stdout,
      ) as [Record<string, unknown>];
      t.match(
        { topic, bus, groups },
        {
          topic: 'mdp.events',
          bus: name,
          groups: [{ group: 'tick-consumer', partition: 0, pending: 0, lag: 5 }],
        },
      );
      t.match(durability, { lossFree: Boolean, why: String });

      const absent = await harness.run('groups', '--drop', 'nobody');
      t.equal(absent.code, 1);
      t.match(absent.stderr, /there is no group nobody/);
      const refused = await harness.run('groups', '--drop', 'tick-consumer');
      t.equal(refused.code, 1);
      t.match(refused.stderr, /has 5 records that it did not acknowledge; --yes drops it/);
      const dropped = await harness.run('groups', '--drop', 'tick-consumer', '--yes');
      t.equal(dropped.code, 0, dropped.stderr);
      t.match(dropped.stdout, /group tick-consumer of mdp.events is dropped/);
      t.match((await harness.run('groups')).stdout, /^mdp\.events has no groups/);
    });

    await t.test('dropped, the group begins where the topic does', async (t) => {
      await harness.client.query('TRUNCATE tick_data');
      const program = harness.program(['ticks', '--metrics-port', '0']);
      await untilIn(program, 'all are stored again', async () => (await harness.stored()) === MADE + 10);
      t.equal(await program.stop(), 0, program.tail);
    });
  });
}

void test('a record that is no event is shown as it is, and matches no --where', async (t) => {
  const harness = await Harness.start(t, 'type: postgres');
  for (const value of [{ ...EVENT, nested: { a: [1] } }, [1, 2], 'text', null]) {
    await harness.client.query("SELECT bus_publish('mdp.events', 'SPY', $1)", [JSON.stringify(value)]);
  }
  await harness.client.query("SELECT bus_publish('mdp.events', 'SPY', $1)", ['{not json \u001b[31m']);
  const all = await harness.run('tail', '--topic', 'mdp.events');
  t.equal(all.code, 0, all.stderr);
  t.equal(lines(all.stdout).length, 5);
  t.notOk(all.stdout.includes('\u001b'), 'nothing that a terminal obeys');
  const some = await harness.run(
    'tail',
    '--topic',
    'mdp.events',
    '--json',
    '--where',
    'price > 400 && seq == null',
  );
  t.match(objects(some.stdout), [{ key: 'SPY', event: { symbol: 'SPY', nested: { a: [1] } } }]);
  t.equal(objects(some.stdout).length, 1);
});

void test('a group of another role is refused', async (t) => {
  const harness = await Harness.start(t, 'type: postgres');
  await harness.client.query(
    "INSERT INTO bus_groups (topic, group_name, role) VALUES ('mdp.events', 'mdp-consumers', 'micro_batch')",
  );
  const { code, stderr } = await harness.run('ticks', '--group', 'mdp-consumers', '--metrics-port', '0');
  t.equal(code, 1);
  t.equal(lines(stderr).length, 1, stderr);
  t.match(
    stderr,
    /group mdp-consumers of mdp\.events belongs to the role micro_batch: give .* --drop mdp-consumers/,
  );
  t.match(await harness.runs('tick_consumer'), [
    { status: 'failed', error_message: /belongs to the role micro_batch/ },
  ]);
});

void test('a port of metrics that is taken is a warning; one that is free serves them', async (t) => {
  const harness = await Harness.start(t, 'type: postgres');
  const taken = createServer().listen(0, '0.0.0.0');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const warnings: unknown[] = [];
  const producer = harness.program(
    ['produce', '--provider', 'synthetic', '--count', '3', '--metrics-port', `${port}`],
    (line) => line['level'] === 'warn' && warnings.push(line['msg']),
  );
  t.strictSame(await producer.ended, { code: 0, signal: null }, producer.tail);
  t.match(warnings[0], new RegExp(`${port} is taken by another program`));

  const free = await freePort();
  const consumer = harness.program(['ticks', '--metrics-port', `${free}`]);
  await untilIn(consumer, 'the ticks are stored', async () => (await harness.stored()) === 3);
  const text = await until('the metrics say so', async () => {
    const answer = await fetch(`http://127.0.0.1:${free}/metrics`);
    const body = await answer.text();
    return body.includes('tick_forward_total{provider="synthetic"} 3') ? body : null;
  });
  t.match(text, 'tick_forward_total{provider="continuum"} 0', 'from the start');
  t.match(text, 'tick_forward_failures_total{provider="synthetic"} 0');
  t.equal(await consumer.stop(), 0, consumer.tail);
});

void test('mistakes are one line and a code', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tick-stream-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const closed = await freePort();
  const redis = await file(
    'redis.yaml',
    `version: 1\nbus:\n  redis:\n    uri: redis://127.0.0.1:${closed}/0\n`,
  );
  const onPostgres = await file('postgres.yaml', 'version: 1\nbus:\n  type: postgres\n');
  const wrong = await file('wrong.yaml', 'version: 1\nbus:\n  typ: redis\n');
  const nowhere = `postgres://nobody:s3cret@127.0.0.1:${closed}/nothing`;
  const cases: [what: string, args: string[], code: number, said: RegExp, url?: string][] = [
    ['ticks without a database', ['ticks', '--config', redis], 2, /set DATABASE_URL/],
    ['produce without one', ['produce', '--provider', 'synthetic', '--config', redis], 2, /set DATABASE_URL/],
    ['a bus in a database without one', ['groups', '--config', onPostgres], 2, /set DATABASE_URL/],
    ['a database that is not there', ['groups', '--config', onPostgres], 1, /Postgres|database/i, nowhere],
    ['redis is not there', ['groups', '--config', redis], 1, /[Rr]edis/],
    ['no redis to look at', ['tail', '--topic', 'mdp.events', '--config', redis], 1, /[Rr]edis/],
    ['a wrong file', ['tail', '--topic', 'a', '--config', wrong], 2, /wrong\.yaml:3: bus\.typ is not a key/],
    ['no such file', ['ticks', '--config', join(folder, 'none.yaml')], 2, /none\.yaml:1: cannot be read \(ENOENT\)/],
    ['no provider', ['produce', '--config', redis], 2, /--provider/],
    ['another provider', ['produce', '--provider', 'x', '--config', redis], 2, /synthetic/],
    ['a count for the chain', ['produce', '--provider', 'continuum', '--count', '1', '--config', redis], 2, /belong to/],
    ['a count that is none', ['produce', '--provider', 'synthetic', '--count', '-1', '--config', redis], 2, /--count/],
    ['a start that is none', ['produce', '--provider', 'synthetic', '--start', 'soon', '--config', redis], 2, /--start/],
    ['another option', ['ticks', '--grop', 'a', '--config', redis], 2, /--grop/],
  ]; // prettier-ignore
  for (const [what, args, code, said, url] of cases) {
    const ended = await runCommand(
      'mdp',
      ['stream', ...args],
      url === undefined ? {} : { DATABASE_URL: url },
    );
    t.equal(ended.code, code, `${what}: ${ended.stderr}${ended.stdout}`);
    t.match(ended.stderr, said, what);
    const own = lines(ended.stderr).filter(
      (line) => !line.startsWith('A mistake in') && !line.startsWith('('),
    );
    t.equal(own.length, 1, `${what}: ${ended.stderr}`);
    t.notOk(ended.stderr.includes('s3cret'), what);
  }
});

void test('config check', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tick-stream-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = join(folder, 'a.yaml');
  await writeFile(config, 'version: 1\nbus:\n  partitions: 4\n  redis:\n    uri: redis://u:${P:-p4ss}@h/0\n');
  const right = await runCommand('mdp', ['config', 'check', '--config', config], {});
  t.equal(right.code, 0, right.stderr);
  t.match(right.stdout, `${config} is right: bus redis, 4 partition(s)`);
  const json = await runCommand('mdp', ['config', 'check', '--config', config, '--json'], { P: 's3cret' });
  t.match(JSON.parse(json.stdout), { bus: { partitions: 4, retention: 86_400_000, max_bytes: 2 ** 31 } });
  t.notOk(json.stdout.includes('s3cret'), json.stdout);
  t.equal((await runCommand('mdp', ['config', 'check'], {})).code, 0, 'the packaged file');
  await writeFile(config, 'version: 1\nbus:\n  typ: redis\ntelemetry:\n  metrics_port: x\n');
  const wrong = await runCommand('mdp', ['config', 'check'], { STREAMING_CONFIG: config });
  t.equal(wrong.code, 1);
  t.match(wrong.stderr, /^2 mistakes in .*\n.*a\.yaml:3: bus\.typ .*\n.*a\.yaml:5: telemetry\.metrics_port /);
});

void test('--help of every command names options, units, defaults and an example', async (t) => {
  const ROLE = ['--group', '--consumer', '--batch-size', '--metrics-port'];
  const commands: [string[], string[]][] = [
    [
      ['stream', 'produce'],
      ['--provider', '--count', '--rate', '--seed', '--start', '--metrics-port'],
    ],
    [['stream', 'ticks'], ROLE],
    [
      ['stream', 'tail'],
      ['--topic', '--limit', '--follow', '--where', '--json'],
    ],
    [
      ['stream', 'groups'],
      ['--topic', '--drop', '--yes', '--json'],
    ],
    [['config', 'check'], ['--json']],
    [
      ['rules', 'test'],
      ['--input', '--rules', '--json'],
    ],
  ];
  for (const [name, options] of commands) {
    const { code, stdout } = await runCommand('mdp', [...name, '--help'], {});
    t.equal(code, 0);
    for (const option of ['--config', ...options])
      t.ok(stdout.includes(option), `${name.join(' ')} ${option}`);
    t.match(stdout, new RegExp(`\\$ mdp ${name.join(' ')} `), 'an example');
    t.match(stdout, /Exit codes: 0 /);
    t.match(stdout, /default/);
  }
  const { stdout } = await runCommand('mdp', ['stream', '--help'], {});
  for (const name of ['produce', 'ticks', 'tail', 'groups']) t.match(stdout, new RegExp(`^ +${name} `, 'm'));
});

void test('another number of partitions than the topic has is refused', async (t) => {
  const harness = await Harness.start(t, 'type: postgres\n  partitions: 4');
  t.equal((await harness.produce('--count', '50')).code, 0);
  const consumer = harness.program(['ticks', '--metrics-port', '0']);
  await untilIn(consumer, 'all are stored', async () => (await harness.stored()) === 50);
  t.equal(await consumer.stop(), 0, consumer.tail);
  await writeFile(harness.config, 'version: 1\nbus:\n  type: postgres\n  partitions: 3\n');
  for (const role of [['ticks'], ['produce', '--provider', 'synthetic', '--count', '1']]) {
    const { code, stderr } = await harness.run(...role, '--metrics-port', '0');
    t.equal(code, 1);
    t.match(stderr, /mdp\.events has 4 partition\(s\), and 3 here: set bus\.partitions to 4 .*--drop/);
    t.equal(lines(stderr).length, 1, stderr);
  }
  t.equal((await harness.run('groups', '--drop', 'tick-consumer', '--yes')).code, 0);
  t.equal((await harness.produce('--count', '51')).code, 0, 'without groups the number is free');
});
