import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { Program } from '../../support/run/program.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { until } from '../../support/until.ts';

const example = (name: string): string =>
  fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url));
const TOKEN = 'a-token-of-at-least-thirty-two-characters';

async function noCurl(): Promise<false | string> {
  const { stdout } = await promisify(execFile)('curl', ['--version']).catch(() => ({ stdout: '' }));
  const [, major = '0', minor = '0'] = /^curl (\d+)\.(\d+)/.exec(stdout) ?? [];
  return Number(major) * 1000 + Number(minor) >= 7082 ? false : 'no curl of 7.82 or later';
}

void test('examples of the API against mdp serve and mdp stream flush', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase();
  const database = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => database.end());
  await migrate(database);
  const folder = await mkdtemp(join(tmpdir(), 'api-examples-'));
  t.after(() => rm(folder, { recursive: true }));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, 'version: 1\nbus: { type: postgres }\n');
  const env = { DATABASE_URL: url, STREAMING_CONFIG: config, API_PORT: '0', API_TOKEN: TOKEN };
  let address = '';
  const serve = new Program('mdp', ['serve', '--metrics-port', '0'], env, (line) => {
    if (line['msg'] === 'The API is served') address = String(line['address']);
  });
  const flush = new Program('mdp', ['stream', 'flush', '--metrics-port', '0'], env);
  t.after(() => Promise.all([serve.stop(), flush.stop()]));
  await until('the API is served', () => address !== '', { context: () => serve.tail });

  await t.test('a tick in, and every question of it, by curl', { skip: await noCurl() }, async (t) => {
    const { stdout } = await promisify(execFile)('sh', [example('api.sh'), address], {
      env: { PATH: process.env['PATH'], API_TOKEN: TOKEN },
    });
    const [accepted, latest, recent, range, aggregate, ...csv] = stdout.trimEnd().split('\n');
    const tick = {
      kind: 'webhook',
      source: 'feeder',
      symbol: 'BTC',
      ts: '2025-10-31T10:00:00.000000Z',
      price: '110000.10',
      volume: 0.025,
      seq: '0',
    };
    t.equal(accepted, '{"accepted":1}');
    t.strictSame(JSON.parse(latest), tick);
    for (const list of [recent, range]) t.strictSame(JSON.parse(list), { items: [tick], next: null });
    t.match(JSON.parse(aggregate), {
      items: [
        { symbol: 'BTC', start: tick.ts, end: '2025-10-31T10:01:00.000000Z', close: '110000.10', count: 1 },
      ],
    });
    t.equal(csv[0].trim(), 'kind,source,symbol,ts,price,volume,seq');
    t.equal(csv[1].trim(), `webhook,feeder,BTC,${tick.ts},110000.10,0.025,0`);
  });
});
