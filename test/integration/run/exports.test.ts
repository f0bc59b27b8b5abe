import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { until } from '../../support/until.ts';

const missing = redisMissing();

void test('the example programs run as they stand', { skip: missing ?? false }, async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const redis = await startRedis();
  t.after(() => redis.stop());
  const url = await server.createDatabase();
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => client.end());
  await migrate(client);
  const env = { ...process.env, DATABASE_URL: url, REDIS_URI: redis.uri };
  const run = (name: string) =>
    spawn(process.execPath, [`examples/${name}.ts`], { env, stdio: ['ignore', 'pipe', 'inherit'] });

  await t.test('ticks straight into the store; again, nothing changes', async (t) => {
    const said: string[] = [];
    for (let time = 0; time < 2; time += 1) {
      const child = run('upsert-ticks');
      createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
      const [code] = await once(child, 'exit');
      t.equal(code, 0);
    }
    t.strictSame(said, ['1 stored, 0 known, 0 in conflict', '0 stored, 1 known, 0 in conflict']);
  });

  await t.test('a tick consumer of one’s own', async (t) => {
    const child = run('tick-consumer');
    const lines = createInterface({ input: child.stdout });
    await once(lines, 'line');
    const event = {
      provider: 'ibkr',
      symbol: 'SPY',
      kind: 'tick',
      src_ts: '2025-10-24T14:02:01Z',
      price: 425.15,
    };
    await redis.cli('XADD', 'mdp.events', '*', 'data', JSON.stringify(event));
    await until('the tick is stored', async () => {
      const { rows } = await client.query("SELECT price FROM tick_data WHERE symbol = 'SPY'");
      return rows.length === 1 && rows[0].price === 425.15;
    });
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    t.equal(code, 0);
  });

  await t.test('ticks and bars in one program', async (t) => {
    const child = run('micro-batcher');
    await once(createInterface({ input: child.stdout }), 'line');
    for (const [at, price] of [
      ['14:02:02.1', 425.5],
      ['14:02:03', 425.25],
      ['14:02:05', 426],
    ] as const) {
      const event = {
        provider: 'ibkr',
        symbol: 'QQQ',
        kind: 'tick',
        ts: `2025-10-24T${at}Z`,
        price,
        size: 2,
      };
      await redis.cli('XADD', 'mdp.events', '*', 'data', JSON.stringify(event));
    }
    const bars = `SELECT open, close, volume, vwap FROM bars_ohlcv WHERE symbol = 'QQQ' AND "interval" = '2s' ORDER BY ts`;
    await until('the first window is closed', async () => (await client.query(bars)).rows.length > 0);
    const { rows } = await client.query(bars);
    t.strictSame(rows[0], { open: 425.5, close: 425.25, volume: 4, vwap: 425.375 });
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    t.equal(code, 0);
  });

  await t.test('signals of ticks, and signals of one’s own', async (t) => {
    const child = run('signal-consumer');
    const lines: string[] = [];
    const out = createInterface({ input: child.stdout });
    out.on('line', (line) => lines.push(line));
    await once(out, 'line');
    for (const [at, price] of [
      ['14:02:02.1', 425.5],
      ['14:02:02.2', 427.5],
      ['14:02:05', 426],
    ] as const) {
      const event = {
        provider: 'ibkr',
        symbol: 'IWM',
        kind: 'tick',
        ts: `2025-10-24T${at}Z`,
        price,
        size: 1,
        bid: price - 0.5,
        ask: price + 0.5,
      };
      await redis.cli('XADD', 'mdp.events', '*', 'data', JSON.stringify(event));
    }
    const stored = `SELECT name, value, metadata FROM signals WHERE symbol = 'IWM' ORDER BY ts, name LIMIT 6`;
    // once the watermark has passed both, and flush_interval is over
    await until('two ticks have their signals', async () => (await client.query(stored)).rows.length >= 6);
    const { rows } = await client.query<{ name: string; value: number; metadata: unknown }>(stored);
    const deviation = rows.filter(({ name }) => name === 'vwap_deviation_bps').map(({ value }) => value);
    t.strictSame(deviation, [0, ((427.5 - 426.5) / 426.5) * 10_000]);
    const spread = rows.find(({ name }) => name === 'spread_bps');
    t.strictSame(spread, {
      name: 'spread_bps',
      value: (1 / 425.5) * 10_000,
      metadata: { window: 'tick', price: 425.5 },
    });
    const own = await client.query(
      `SELECT value, metadata FROM signals WHERE provider = 'mine' AND name = 'opened'`,
    );
    t.strictSame(own.rows, [{ value: 1, metadata: { window: '2s' } }]);
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    t.equal(code, 0);
    t.match(lines.at(-1) ?? '', /"name":"vwap_deviation_bps"/);
  });
});
