/**
 * How the database answers each query over ROWS ticks (default 5,000,000): plan, and median and p99 over many symbols. It fails
 * where a plan reads a whole table. `node bench/api/plans.ts`; DATABASE_URL names a server other than the embedded one, whose
 * database must be empty or filled by this very program; COMPRESS=1 compresses all chunks but the newest (TimescaleDB).
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import { startEmbedded } from '../../src/store/embedded/server.ts';
import { connect, parseDatabaseUrl } from '../../src/store/postgres/connect.ts';
import { bars } from '../../src/store/queries/bars.ts';
import { marketTicks, providersOf } from '../../src/store/queries/market-ticks.ts';
import { readPage, type Query } from '../../src/store/queries/query.ts';
import { rangeAt, rangesWithin } from '../../src/store/queries/ranges.ts';
import { ReadPool } from '../../src/store/queries/read-pool.ts';
import { signals } from '../../src/store/queries/signals.ts';
import { marketSymbols, webhookSymbols } from '../../src/store/queries/symbols.ts';
import { webhookTicks } from '../../src/store/queries/webhook-ticks.ts';
import { migrate } from '../../src/store/schema/migrate.ts';

const ROWS = Number(process.env['ROWS'] ?? 5_000_000);
const SYMBOLS = 50;
const ROUNDS = 200;
/** 2025-01-01T00:00:00Z, µs; the ticks are spread over DAYS */
const START = 1_735_689_600_000_000n;
const DAYS = 20n;
const DAY = 86_400_000_000n;

const folder = await mkdtemp(join(tmpdir(), 'tick-plans-'));
await chmod(folder, 0o711);
const server =
  process.env['DATABASE_URL'] === undefined
    ? await startEmbedded({
        dataDir: join(folder, 'postgres'),
        settings: { shared_buffers: '1GB', max_wal_size: '8GB', fsync: 'off' },
        log: { info: () => {}, warn: () => {} },
      })
    : null;
const url = server?.url('postgres') ?? process.env['DATABASE_URL'] ?? '';
const failures: string[] = [];
try {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'bench' });
  await migrate(client);
  await fill(client);
  await client.end();
  const pool = new ReadPool({ databaseUrl: url, sessionsMax: 1, statementMsMax: 120_000 });
  for (const [name, query, limit] of queries()) await show(pool, name, query, limit);
  await time(pool, 'providers of a symbol', (client, n) => providersOf(client, symbolOf(n)));
  await pool.close();
} finally {
  await server?.stop('fast');
  await rm(folder, { recursive: true, force: true });
}
if (failures.length > 0) {
  console.log(`reads whole tables: ${failures.join(', ')}`);
  process.exitCode = 1;
}

function symbolOf(n: number): string {
  return `S${n % SYMBOLS}`;
}

/** Some hour of the days. */
function at(n: number): bigint {
  return START + ((BigInt(n) * 7919n) % (DAYS * 24n)) * (DAY / 24n);
}

/** A time in SQL: days and µs after the start. */
function ts(days: string, us: string): string {
  return `timestamptz '2025-01-01Z' + ${days} * interval '1 day' + ${us} * interval '1 microsecond'`;
}

type Make = (n: number) => Query;

function queries(): [string, Make, number][] {
  const newest = { from: null, to: null, order: 'newest first', after: null } as const;
  const market = { ...newest, providers: ['p0'] };
  const both = { ...newest, providers: ['p0', 'p1'] };
  const of = { provider: 'p0', interval: '1m', from: null, to: null } as const;
  return [
    ['latest, one provider', (n) => marketTicks({ ...market, symbol: symbolOf(n), rowsMax: 1 }), 1],
    ['latest, two providers', (n) => marketTicks({ ...both, symbol: symbolOf(n), rowsMax: 1 }), 1],
    ['recent 1000', (n) => marketTicks({ ...market, symbol: symbolOf(n), rowsMax: 1000 }), 1000],
    ['recent 1000, two providers', (n) => marketTicks({ ...both, symbol: symbolOf(n), rowsMax: 1000 }), 1000],
    [
      'range of 1 h, page of 1000',
      (n) =>
        marketTicks({
          ...market,
          symbol: symbolOf(n),
          from: at(n),
          to: at(n) + DAY / 24n,
          order: 'oldest first',
          rowsMax: 1000,
        }),
      1000,
    ],
    [
      'range, next page of 1000',
      (n) =>
        marketTicks({
          ...both,
          symbol: symbolOf(n),
          from: START,
          to: null,
          order: 'oldest first',
          after: { ts: at(n), provider: 'p0', seq: 1n },
          rowsMax: 1000,
        }),
      1000,
    ],
    ['webhook latest', (n) => webhookTicks({ ...newest, symbol: symbolOf(n), source: null }), 1],
    [
      'webhook recent 1000 of a source',
      (n) => webhookTicks({ ...newest, symbol: symbolOf(n), source: 's1' }),
      1000,
    ],
    [
      'webhook range, next page',
      (n) =>
        webhookTicks({
          symbol: symbolOf(n),
          source: null,
          from: START,
          to: null,
          order: 'oldest first',
          after: { ts: at(n), source: 's0', seq: 1n },
        }),
      1000,
    ],
    ['symbols', () => marketSymbols(null, null), 1000],
    ['symbols of a provider, next page', () => marketSymbols('p1', { provider: 'p1', symbol: 'S3' }), 1000],
    ['symbols of the webhook', () => webhookSymbols(null), 1000],
    ['bars, a page', (n) => bars({ ...of, symbol: symbolOf(n), order: 'newest first' }, null, null), 1000],
    [
      'signals of a symbol',
      (n) => signals({ ...newest, of: { provider: 'p0', symbol: symbolOf(n) }, name: null, run: 0n }),
      1000,
    ],
    ['signals of a name', (n) => signals({ ...newest, of: null, name: `n${n % 5}`, run: 0n }), 1000],
    ['the range at a time', (n) => rangeAt(symbolOf(n), at(n)), 1],
    ['ranges of a day', (n) => rangesWithin(symbolOf(n), at(n), at(n) + DAY, null), 1000],
  ];
}

async function show(pool: ReadPool, name: string, make: Make, limit: number): Promise<void> {
  const lines = await pool.run(async (client) => {
    const { rows } = await client.query<Record<string, string>>(
      `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ${make(1).sql} LIMIT ${limit + 1}`,
    );
    return rows.map((row) => row['QUERY PLAN']);
  });
  const ran = lines.filter((line) => !line.includes('never executed'));
  // of a compressed chunk the rows of its segments are read by their index; one that is scanned whole is not
  if (ran.some((line) => /Seq Scan on/.test(line))) failures.push(name);
  if (process.env['PLANS'] === '1') console.log(ran.join('\n'));
  await time(pool, name, (client, n) => readPage(client, make(n), limit));
}

async function time(
  pool: ReadPool,
  name: string,
  work: (client: Client, n: number) => Promise<unknown>,
): Promise<void> {
  const took: number[] = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const beganMs = performance.now();
    await pool.run((client) => work(client, n));
    took.push(performance.now() - beganMs);
    // slow enough to be seen at once
    if (took.length >= 10 && took.reduce((a, b) => a + b) > 10_000) break;
  }
  took.sort((a, b) => a - b);
  const p = (share: number): string => took[Math.floor((took.length - 1) * share)].toFixed(2);
  console.log(`${name.padEnd(36)} median ${p(0.5).padStart(8)} ms  p99 ${p(0.99).padStart(8)} ms`);
}

async function fill(client: Client): Promise<void> {
  const { rows } = await client.query<{ filled: boolean }>('SELECT EXISTS (SELECT FROM tick_data) AS filled');
  if (rows[0].filled) return;
  const step = (Number(DAYS) * 86_400_000_000) / ROWS;
  // day by day: a transaction of so many rows needs the memory of none
  for (let day = 0; day < Number(DAYS); day += 1) {
    const rowsOfDay = Math.floor(ROWS / Number(DAYS));
    await client.query(
      `INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, ask, side)
       SELECT 'p' || n % 2, 'S' || n / 2 % ${SYMBOLS}, ${ts(String(day), `n::float8 * ${step}`)}, n, 100 + n % 1000 / 8.0, n % 7, 100, 101, 1
         FROM generate_series(0, ${rowsOfDay - 1}) n`,
    );
    await client.query(
      `INSERT INTO md_ticks (symbol, ts, source, seq, price, volume)
       SELECT 'S' || n / 2 % ${SYMBOLS}, ${ts(String(day), `n::float8 * ${step * 10}`)}, 's' || n % 2, n, 100 + n % 1000 / 8.0, n % 7
         FROM generate_series(0, ${rowsOfDay / 10 - 1}) n`,
    );
    await client.query(
      `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
       SELECT 'p' || p, 'S' || s, '1m', ${ts(String(day), 'm * 60000000::bigint')}, 1, 1, 1, 1, 1, 1, now(), now(), true
         FROM generate_series(0, 1) p, generate_series(0, ${SYMBOLS - 1}) s, generate_series(0, 1439, 5) m`,
    );
    await client.query(
      `INSERT INTO signals (provider, symbol, ts, name, value)
       SELECT 'p' || n % 2, 'S' || n / 2 % ${SYMBOLS}, ${ts(String(day), 'n * 8640000::bigint')}, 'n' || n % 5, n FROM generate_series(0, 9999) n`,
    );
    await client.query(
      `INSERT INTO md_ranges (symbol, "window", agg)
       SELECT 'S' || s, tstzrange(${ts(String(day), 'm * 60000000::bigint')}, ${ts(String(day), '(m + 1) * 60000000::bigint')}),
              '{"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "count": 1}'
         FROM generate_series(0, ${SYMBOLS - 1}) s, generate_series(0, 1439, 10) m`,
    );
  }
  if (process.env['COMPRESS'] === '1')
    await client.query(
      `SELECT compress_chunk(c) FROM show_chunks('tick_data', older_than => timestamptz '2025-01-20Z') c`,
    );
  await client.query('VACUUM ANALYZE');
}
