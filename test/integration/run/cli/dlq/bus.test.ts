import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { test } from 'tap';
import { systemClock } from '../../../../../src/core/time.ts';
import { registerDlq } from '../../../../../src/run/cli/dlq/dlq.ts';
import { connect, parseDatabaseUrl } from '../../../../../src/store/postgres/connect.ts';
import { runCommand } from '../../../../support/run/command.ts';
import { runInProcess } from '../../../../support/run/command-in-process.ts';
import { migrateAll } from '../../../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';
import { Program } from '../../../../support/run/program.ts';
import { until } from '../../../../support/until.ts';

const TICK = { provider: 'ibkr', symbol: 'SPY', kind: 'tick', src_ts: '2025-10-24T14:02:01Z', price: 1 };
const BAD = [
  '{"price": \u001b}',
  JSON.stringify({ ...TICK, price: '1,5' }),
  JSON.stringify({ ...TICK, price: 2 }),
];

const objects = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

void test('mdp dlq: the dead letters of the bus', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => client.end());
  const folder = await mkdtemp(join(tmpdir(), 'tick-dlq-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, 'version: 1\nbus:\n  type: postgres\n');
  const env = { databaseUrl: url, tickBytesMax: () => 4 * 2 ** 20, clock: systemClock };
  const register = (program: Command): void => registerDlq(program, env);
  const dlq = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const { code, out, err } = await runInProcess(register, 'dlq', ...args, '--config', config);
    return { code, stdout: out, stderr: err };
  };
  const publish = (topic: string, key: string, text: string): Promise<unknown> =>
    client.query('SELECT bus_publish($1, $2, $3)', [topic, key, text]);

  t.match(await dlq('list', '--bus'), { code: 0, stdout: '0 dead letters on the bus\n' });

  const consumer = new Program('mdp', ['stream', 'ticks', '--metrics-port', '0', '--config', config], {
    DATABASE_URL: url,
  });
  t.after(() => consumer.kill());
  await publish('mdp.events', 'SPY', JSON.stringify(TICK));
  for (const text of BAD) await publish('mdp.events', 'SPY', text);
  const letters = (count: number): Promise<Record<string, unknown>[]> =>
    until(
      `${count} letters`,
      async () => {
        const found = objects((await dlq('list', '--bus', '--json')).stdout);
        return found.length === count ? found : null;
      },
      { deadlineMs: 30_000, context: () => consumer.tail },
    );

  const found = await letters(3);
  await t.test('list: the newest first, by event_id', async (t) => {
    t.strictSame(
      found.map(({ event_id: id, reason, bytes, group }) => [id, reason, bytes, group]),
      [
        ['mdp.events|4', 'conflict', BAD[2]?.length, 'tick-consumer'],
        ['mdp.events|3', 'bad_price', BAD[1]?.length, 'tick-consumer'],
        ['mdp.events|2', 'bad_json', BAD[0]?.length, 'tick-consumer'],
      ].map(([, ...rest], at) => [found[at]?.['event_id'], ...rest]),
    );
    const table = await dlq('list', '--bus', '--reason', 'bad_price');
    t.match(
      table.stdout,
      /^id +reason +bytes +at +group +detail\nmdp\.events\|\d+ +bad_price .*\n1 dead letter on/,
    );
    t.match(
      (await dlq('list', '--bus', '--limit', '1')).stdout,
      /3 dead letters on the bus, the newest 1 shown/,
    );
  });

  const idOf = (reason: string): string =>
    String(found.find((letter) => letter['reason'] === reason)?.['event_id']);

  await t.test('a letter that is on the topic twice is one', async (t) => {
    const { rows } = await client.query<{ text: string }>(
      `SELECT convert_from(data, 'utf8') AS text FROM bus_read('mdp.events.dlq', 0, 0, 100, 100, 10000000)`,
    );
    t.equal(rows.length, 3);
    await publish('mdp.events.dlq', 'mdp.events', rows[0]?.text ?? '');
    await publish('mdp.events.dlq', 'mdp.events', '{"no": "letter"}');
    t.strictSame(await letters(3), found);
  });

  await t.test('show, with the raw bytes', async (t) => {
    const shown = await dlq('show', idOf('bad_json'));
    t.equal(shown.code, 0, shown.stderr);
    t.match(shown.stdout, /^reason +bad_json$/m);
    t.match(shown.stdout, /^raw +\{"price": \\x1b\}$/m, 'nothing that a terminal obeys');
    const file = join(folder, 'raw');
    t.equal((await dlq('show', idOf('bad_price'), '--raw', file)).code, 0);
    t.equal(await readFile(file, 'utf8'), BAD[1]);
    const args = ['dlq', 'show', idOf('conflict'), '--raw', '-', '--config', config];
    t.equal((await runCommand('mdp', args, { DATABASE_URL: url })).stdout, BAD[2]);
    const [json] = objects((await dlq('show', idOf('conflict'), '--json')).stdout);
    t.equal(Buffer.from(String(json?.['raw']), 'base64').toString(), BAD[2]);
    t.match(await dlq('show', 'mdp.events|999'), {
      code: 1,
      stderr: /there is no dead letter mdp\.events\|999/,
    });
  });

  await t.test('retry: what is good now is stored, what is still bad is a letter again', async (t) => {
    await client.query('TRUNCATE tick_data');
    const retried = await dlq('retry', idOf('conflict'));
    t.match(retried, { code: 0, stdout: /^mdp\.events\|\d+ {2}published again as \d+\n$/ }, retried.stderr);
    await until('it is stored', async () => {
      const { rows } = await client.query<{ price: number }>('SELECT price FROM tick_data');
      return rows.length === 1 && rows[0]?.price === 2;
    });
    const again = await dlq('retry', '--bus', '--reason', 'bad_price', '--json');
    t.equal(again.code, 0, again.stderr);
    const [outcome] = objects(again.stdout);
    t.match(outcome, { event_id: idOf('bad_price'), outcome: 'published_again', done: true });
    const open = await until('it is a letter again', async () => {
      const found = objects((await dlq('list', '--bus', '--json')).stdout);
      return found.length === 2 && found[0]?.['reason'] === 'bad_price' ? found : null;
    });
    t.match(open[0], {
      event_id: `mdp.events|${String(outcome?.['msg_id'])}`,
      reason: 'bad_price',
      key: 'SPY',
      status: 'open',
    });
    t.match(open[1], { event_id: idOf('bad_json'), status: 'open' });
    t.match(await dlq('retry', 'mdp.events|999'), { code: 1, stderr: /1 of 1 not published again/ });
    t.match(await dlq('retry', '--bus', '--reason', 'poison'), { code: 0, stdout: /nothing to do/ });
  });

  await t.test('what was retried is resolved, and not published twice', async (t) => {
    const resolved = objects((await dlq('list', '--bus', '--status', 'resolved', '--json')).stdout);
    t.strictSame(
      resolved.map(({ event_id: id, status, resolved_by: by }) => [id, status, by]),
      [
        [idOf('conflict'), 'resolved', 'retried'],
        [idOf('bad_price'), 'resolved', 'retried'],
      ],
    );
    const { stdout } = await dlq('list', '--bus', '--status', 'all');
    t.match(stdout, /^id +reason +bytes +at +status +group/);
    t.match(stdout, /4 dead letters on the bus/);
    const again = await dlq('retry', idOf('conflict'));
    t.match(again, { code: 0, stdout: `${idOf('conflict')}  resolved before\n` });
    t.match((await dlq('show', idOf('conflict'))).stdout, /^resolved_by +retried$/m);
  });

  await t.test('discard: one, those of a reason, all', async (t) => {
    t.match(await dlq('discard', 'mdp.events|999'), { code: 1, stderr: /1 of 1 not discarded/ });
    t.match(await dlq('discard', idOf('bad_json')), {
      code: 0,
      stdout: `${idOf('bad_json')}  discarded\n`,
    });
    const [left] = objects((await dlq('list', '--bus', '--json')).stdout);
    t.match(await dlq('discard', '--bus', '--reason', 'bad_json'), { code: 0, stdout: /nothing to do/ });
    const discarded = await dlq('discard', '--bus', '--all', '--json');
    t.strictSame(objects(discarded.stdout), [
      { event_id: left?.['event_id'], outcome: 'discarded', done: true, msg_id: null },
    ]);
    t.match(await dlq('list', '--bus'), { code: 0, stdout: '0 dead letters on the bus\n' });
    t.match(
      (await dlq('list', '--bus', '--status', 'resolved')).stdout,
      /4 resolved dead letters on the bus/,
    );
    // a record that is refused once more, by another group, is the same letter
    const { rows } = await client.query<{ text: string }>(
      `SELECT convert_from(data, 'utf8') AS text FROM bus_read('mdp.events.dlq', 0, 0, 0, 1, 10000000)`,
    );
    await publish('mdp.events.dlq', 'mdp.events', rows[0]?.text ?? '');
    t.match(await dlq('list', '--bus'), { code: 0, stdout: '0 dead letters on the bus\n' });
  });

  await t.test('mistakes in the command line', async (t) => {
    for (const args of [
      ['list', '--bus', '--from', '1'],
      ['retry', '--bus'],
      ['discard', '--bus'],
      ['discard', 'mdp.events|1', '--all'],
      ['retry', 'mdp.events|1', '7'],
      ['retry', 'mdp.events|1', '--all'],
      ['show', 'x'],
    ]) {
      t.equal((await dlq(...args)).code, 2, args.join(' '));
    }
  });

  t.equal(await consumer.stop(), 0, consumer.tail);
});
