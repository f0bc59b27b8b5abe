import { get } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { startDaemon, type Daemon } from '../../../support/chain/daemon.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';
import { startSim } from '../../../support/chain/sim.ts';
import { until } from '../../../support/until.ts';

let postgres: SharedPostgres | null = null;
after(() => postgres?.stop());

interface Harness {
  url: string;
  client: Client;
  metricsPort: number;
  start(env: Record<string, string>, killableThreads?: boolean): Daemon;
}

async function harnessOf(
  t: Test,
  { schema = true, sections = '' }: { schema?: boolean; sections?: string } = {},
): Promise<Harness> {
  postgres ??= await sharedPostgres();
  const url = await postgres.createDatabase(undefined, { schema: false });
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  if (schema) await migrate(client);
  const folder = await mkdtemp(join(tmpdir(), 'tick-stages-'));
  const config = join(folder, 'streaming.yaml');
  await writeFile(config, `version: 1\nbus:\n  type: postgres\n${sections}`);
  const metricsPort = await freePort();
  const daemons: Daemon[] = [];
  t.after(async () => {
    for (const daemon of daemons) await daemon.end();
    await client.end();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    url,
    client,
    metricsPort,
    start(env, killableThreads = false) {
      const daemon = startDaemon({
        env: { DATABASE_URL: url, STREAMING_CONFIG: config, METRICS_PORT: `${metricsPort}`, ...env },
        killableThreads,
      });
      daemons.push(daemon);
      return daemon;
    },
  };
}

/** What the stages measure; null while nobody serves it. */
function metrics({ metricsPort }: Harness): Promise<string | null> {
  return new Promise((resolve) => {
    const request = get(
      { host: '127.0.0.1', port: metricsPort, path: '/metrics', agent: false },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve(body));
      },
    );
    request.on('error', () => resolve(null));
  });
}

async function untilMetrics(harness: Harness, daemon: Daemon, part: string): Promise<string> {
  return until(
    `the metrics have ${part}`,
    async () => {
      const text = await metrics(harness);
      return text?.includes(part) === true ? text : null;
    },
    { deadlineMs: 30_000, context: async () => `${await metrics(harness)}\n${daemon.tail()}` },
  );
}

/** Ticks of symbol SPY, seq from … to − 1, as a foreign program puts them on the bus. */
async function publish({ client }: Harness, from: number, to: number): Promise<void> {
  // a statement of its own for every few: each record updates the counter of the log
  for (let first = from; first < to; first += 500) {
    await client.query(
      `SELECT bus_publish('mdp.events', 'SPY', json_build_object('provider', 'ibkr', 'symbol', 'SPY', 'kind', 'tick',
         'src_ts', '2025-10-24T14:02:01Z', 'seq', n, 'price', 1 + n)::text) FROM generate_series($1::int, $2::int - 1) n`,
      [first, Math.min(first + 500, to)],
    );
  }
}

async function stored({ client }: Harness): Promise<number> {
  const { rows } = await client.query<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
  return rows[0]?.n ?? -1;
}

async function untilStored(harness: Harness, daemon: Daemon, count: number): Promise<void> {
  await until(
    `${count} ticks are stored`,
    async () => {
      if (daemon.exit !== null) throw new Error(`the daemon ended\n${daemon.tail()}`);
      return (await stored(harness)) === count;
    },
    { deadlineMs: 30_000, context: () => daemon.tail() },
  );
}

/** Nothing in hand, nothing waiting. */
async function left({ client }: Harness): Promise<number> {
  const { rows } = await client.query<{ n: number }>(
    "SELECT coalesce(sum(pending + lag), 0)::int AS n FROM bus_group_status('mdp.events', 'tick-consumer')",
  );
  return rows[0]?.n ?? -1;
}

void test('the stage ticks alone', async (t) => {
  const harness = await harnessOf(t);
  const daemon = harness.start({ STAGES: 'ticks' });
  const text = await untilMetrics(harness, daemon, '# TYPE');
  for (const series of [
    'tick_forward_total{provider="synthetic"} 0',
    'tick_forward_total{provider="continuum"} 0',
    'tick_forward_failures_total{provider="ibkr_primary"} 0',
    'tick_collisions_total 0',
    'events_altered_total{component="tick_consumer",provider="synthetic",reason="rounded"} 0',
    'events_altered_total{component="micro_batch",provider="ibkr_primary",reason="unknown_side"} 0',
    'store_write_duration_seconds_count{table="tick_data"} 0',
    'store_bars_write_latency_seconds_count 0',
    'retries_total{component="tick_consumer_database"} 0',
  ]) {
    t.ok(text.includes(series), `${series} from the start`);
  }
  await daemon.untilReady('ready');
  t.equal((await daemon.get('/health'))?.code, 200);
  await publish(harness, 0, 300);
  await untilStored(harness, daemon, 300);
  const after = await untilMetrics(harness, daemon, 'tick_forward_total{provider="ibkr"} 300');
  t.match(after, /^stage_heartbeat_timestamp_seconds\{stage="ticks"\} \d/m);
  t.match(after, /^stream_consumer_lag_ms\{topic="mdp\.events",group="tick-consumer",consumer=".*"\} \d/m);
  t.match((await daemon.get('/metrics'))?.body, /^process_resident_memory_bytes /m);
  await daemon.stop();
  t.equal(await left(harness), 0, 'everything is acknowledged');
  const { rows } = await harness.client.query('SELECT job_name, status, rows_written::int FROM job_runs');
  t.strictSame(rows, [{ job_name: 'tick_consumer', status: 'success', rows_written: 300 }]);
});

void test('what the configuration declares of providers holds for ticks and bars', async (t) => {
  const sections = 'providers:\n  hl: { identity: content, case: refuse, symbols: { kPEPE: 1000PEPE } }\n';
  const harness = await harnessOf(t, { sections });
  const daemon = harness.start({ STAGES: 'ticks,bars' });
  const trade = {
    provider: 'hl',
    symbol: 'kPEPE',
    kind: 'tick',
    src_ts: '2025-10-24T14:02:01.123Z',
    side: '?',
  };
  for (const more of [
    { price: 1 },
    { price: '2.000000000000000000001' },
    { price: 1 },
    { price: 3, symbol: 'KPEPE' },
    { price: 4, symbol: 'kBONK' },
    { price: 5, src_ts: '2025-10-24T14:02:10Z' },
  ]) {
    const text = JSON.stringify({ ...trade, ...more });
    await harness.client.query("SELECT bus_publish('mdp.events', 'kPEPE', $1)", [text]);
  }
  await untilStored(harness, daemon, 4);
  for (const component of ['tick_consumer', 'micro_batch']) {
    await untilMetrics(
      harness,
      daemon,
      `events_altered_total{component="${component}",provider="hl",reason="rounded"} 1`,
    );
    await untilMetrics(
      harness,
      daemon,
      `events_altered_total{component="${component}",provider="hl",reason="unknown_side"} 5`,
    );
  }
  t.match(await metrics(harness), /^tick_collisions_total 0$/m, 'equal content is a repetition, as declared');
  const bars = `SELECT symbol, high, tick_count::int AS ticks FROM bars_ohlcv WHERE "interval" = '2s' ORDER BY ts, symbol`;
  await until('the bars are there', async () => (await harness.client.query(bars)).rowCount === 3, {
    deadlineMs: 30_000,
    context: () => daemon.tail(),
  });
  t.strictSame((await harness.client.query(bars)).rows, [
    { symbol: '1000PEPE', high: 2, ticks: 2 },
    { symbol: 'KPEPE', high: 3, ticks: 1 },
    { symbol: '1000PEPE', high: 5, ticks: 1 },
  ]);
  await daemon.stop();
});

void test('SIGTERM while records come: what is in hand is stored and acknowledged, the rest is left', async (t) => {
  const harness = await harnessOf(t);
  await publish(harness, 0, 6_000);
  const first = harness.start({ STAGES: 'ticks' });
  await first.logged('TickConsumer wrote batch');
  await first.stop();
  const count = await stored(harness);
  t.equal(count + (await left(harness)), 6_000, `${count} stored, the others wait`);
  const second = harness.start({ STAGES: 'ticks' });
  await untilStored(harness, second, 6_000);
  await second.stop();
  t.equal(await left(harness), 0);
});

void test('a stage whose thread dies is started again and loses nothing', async (t) => {
  const harness = await harnessOf(t);
  const daemon = harness.start({ STAGES: 'ticks' }, true);
  await daemon.logged('TickConsumer started');
  for (let round = 0; round < 2; round += 1) {
    const from = daemon.log.length;
    await publish(harness, round * 2_000, (round + 1) * 2_000);
    await daemon.logged('TickConsumer wrote batch', { from });
    daemon.killThread('ticks');
    const line = await daemon.logged('A stage ended (will be started again)', { from });
    t.equal(line['stage'], 'ticks');
    await daemon.logged('TickConsumer started', { from });
    await untilStored(harness, daemon, (round + 1) * 2_000);
  }
  await untilMetrics(harness, daemon, 'errors_total{component="ticks",reason="stage_ended"} 2');
  t.equal((await daemon.get('/health'))?.code, 200);
  await until('all are acknowledged', async () => (await left(harness)) === 0, {
    context: () => daemon.tail(),
  });
  await daemon.stop();
  t.equal(daemon.stderr, '');
});

void test('ingest, orders and ticks in one process', async (t) => {
  const harness = await harnessOf(t);
  const sim = await startSim(['--seed', '5', '--rate', '200', '--txs', '2', '--vdf', 'fast']);
  t.after(() => sim.stop());
  const daemon = harness.start({
    STAGES: 'ingest,orders,ticks',
    CONTINUUM_GRPC_URL: sim.address,
    START_TICK: '1',
    DB_MIGRATE: 'off',
  });
  await daemon.untilReady('ready');
  const text = await untilMetrics(harness, daemon, 'stage_heartbeat_timestamp_seconds{stage="orders"}');
  t.match(text, /^orders_read_total\{kind="order"\} \d/m);
  t.match(
    text,
    /^stream_events_ingested_total\{bus="postgres",topic="mdp\.events",provider="continuum"\} \d/m,
  );
  await publish(harness, 0, 10);
  await until('foreign ticks are stored beside', async () => {
    const { rows } = await harness.client.query("SELECT 1 FROM tick_data WHERE provider = 'ibkr'");
    return rows.length === 10;
  });
  t.ok((await daemon.metric('tick_ingester_ticks_written_total').catch(() => 1)) >= 0);
  await daemon.stop();
  const { rows } = await harness.client.query(
    "SELECT count(*)::int AS n FROM job_runs WHERE status <> 'success'",
  );
  t.strictSame(rows, [{ n: 0 }]);
});

void test('a schema that is behind is said and waited for', async (t) => {
  const harness = await harnessOf(t, { schema: false });
  const daemon = harness.start({ STAGES: 'ticks', DB_MIGRATE: 'off' });
  const line = await daemon.logged(({ msg }) => msg.startsWith('The schema is behind'));
  t.match(line.msg, /003_bus_log\.sql.*mdp db migrate/);
  t.strictSame((await daemon.untilReady('schema')).reasons, ['schema']);
  t.equal((await daemon.get('/health'))?.code, 200);
  await migrate(harness.client);
  await daemon.untilReady('ready');
  await publish(harness, 0, 5);
  await untilStored(harness, daemon, 5);
  await daemon.stop();
});

void test('a stage says why its bus or its database does not answer', async (t) => {
  const harness = await harnessOf(t);
  const folder = await mkdtemp(join(tmpdir(), 'tick-stages-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const STREAMING_CONFIG = join(folder, 'streaming.yaml');
  await writeFile(
    STREAMING_CONFIG,
    'version: 1\nbus: { type: redis, redis: { uri: "redis://127.0.0.1:1/0" } }\n',
  );
  const daemon = harness.start({ STAGES: 'ticks', STREAMING_CONFIG });
  const line = await daemon.logged('The bus does not answer (will try again)');
  t.match(line, { stage: 'ticks', err: { type: 'BusError', message: /ECONNREFUSED/ } });
});

void test('a port of metrics that is taken stops nothing', async (t) => {
  const harness = await harnessOf(t);
  const first = harness.start({ STAGES: 'ticks' });
  await first.logged('TickConsumer started');
  const second = harness.start({ STAGES: 'ticks', SERVICE_NAME: 'second' });
  const line = await second.logged('The metrics of the stages are not served');
  t.equal(line.level, 'warn');
  await second.logged('TickConsumer started');
  await second.stop();
  await first.stop();
});
