import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../../src/store/postgres/connect.ts';
import { FakeTws } from '../../../../support/servers/fake-tws.ts';
import { migrateAll } from '../../../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';
import { Program } from '../../../../support/run/program.ts';
import { until } from '../../../../support/until.ts';

/** 2025-11-03 14:30:00 UTC */
const SECONDS = 1_762_180_200;

void test('mdp stream produce --provider ibkr: trades of TWS come on the bus', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => client.end());
  const tws = await FakeTws.start();
  t.after(() => tws.stop());
  const folder = await mkdtemp(join(tmpdir(), 'tick-ibkr-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const config = join(folder, 'streaming.yaml');
  await writeFile(
    config,
    `version: 1
bus:
  type: postgres
producers:
  ibkr:
    port: ${tws.port}
    client_id: 7
    provider_id: ib_test
    symbols: [SPY, AAPL]
`,
  );
  const program = new Program(
    'mdp',
    ['stream', 'produce', '--provider', 'ibkr', '--metrics-port', '0', '--config', config],
    { DATABASE_URL: url },
  );
  t.after(() => program.kill());
  await tws.subscribed('SPY', 'BidAsk');
  await tws.subscribed('AAPL', 'BidAsk');
  tws.quote('SPY', SECONDS, 425.14, 425.16);
  tws.trade('SPY', SECONDS, 425.16, 100);
  tws.trade('AAPL', SECONDS + 1, 231.5, 7);
  const events = await until(
    'two events are on the bus',
    async () => {
      const { rows } = await client.query<{ event: Record<string, unknown> }>(
        `SELECT convert_from(data, 'utf8')::json AS event FROM bus_read('mdp.events', 0, 0, 100, 100, 1000000)`,
      );
      return rows.length === 2 ? rows.map(({ event }) => event) : null;
    },
    { deadlineMs: 30_000, context: () => program.tail },
  );
  const [aapl, spy] = events.sort((a, b) => String(a['symbol']).localeCompare(String(b['symbol'])));
  t.match(spy, { provider: 'ib_test', symbol: 'SPY', price: 425.16, size: 100, bid: 425.14, ask: 425.16 });
  t.match(aapl, { provider: 'ib_test', symbol: 'AAPL', price: 231.5, size: 7 });
  t.equal(await program.stop(), 0, program.tail);
  const { rows } = await client.query(
    'SELECT job_name, provider, status, symbols, rows_written::int FROM job_runs',
  );
  t.strictSame(rows, [
    {
      job_name: 'produce',
      provider: 'ib_test',
      status: 'success',
      symbols: ['SPY', 'AAPL'],
      rows_written: 2,
    },
  ]);
});
