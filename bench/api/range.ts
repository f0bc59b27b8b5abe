/**
 * A range of 1,000,000 ticks in each format, by curl from the API into a file, against `psql \copy` of the same rows into a
 * file, in turns: `node bench/api/range.ts`. ROWS and ROUNDS change the size; DATABASE_URL names a server other than the
 * embedded one, whose database must be empty.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { envOf } from '../../src/core/env.ts';
import { systemClock } from '../../src/core/time.ts';
import { NO_LATEST } from '../../src/serve/api/latest-ticks.ts';
import { queryRoutes } from '../../src/serve/api/routes/queries.ts';
import { buildApi } from '../../src/serve/api/server.ts';
import { startEmbedded } from '../../src/store/embedded/server.ts';
import { connect, parseDatabaseUrl } from '../../src/store/postgres/connect.ts';
import { ReadPool } from '../../src/store/queries/read-pool.ts';
import { migrate } from '../../src/store/schema/migrate.ts';

const FORMATS = ['arrow', 'csv', 'ndjson'] as const;
const ROWS = Number(process.env['ROWS'] ?? 1_000_000);
const ROUNDS = Number(process.env['ROUNDS'] ?? 5);

const folder = await mkdtemp(join(tmpdir(), 'tick-range-'));
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
try {
  await fill(url);
  const pool = new ReadPool({ databaseUrl: url });
  const api = await buildApi({
    access: {
      isOpen: true,
      anonymous: { name: 'bench', scopes: new Set(['read']) },
      authenticate: () => null,
    },
    routes: queryRoutes({ pool, latest: NO_LATEST, clock: systemClock }),
    version: '0',
    env: envOf(),
  });
  const address = await api.listen({ host: '127.0.0.1', port: 0 });
  const ratios = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round += 1) {
    const reference = await byPsql();
    for (const format of FORMATS) {
      const cpu = process.cpuUsage();
      const ms = await byCurl(address, format);
      const { user, system } = process.cpuUsage(cpu);
      ratios.set(format, [...(ratios.get(format) ?? []), reference / ms]);
      console.log(
        `${format.padEnd(7)} ${Math.round(ms)} ms, psql \\copy ${Math.round(reference)} ms; CPU of the API ${Math.round((user + system) / 1000)} ms`,
      );
    }
  }
  console.log(
    `${ROWS} rows of tick_data, ${availableParallelism()} cores; rate against psql \\copy, median of ${ROUNDS} pairs:`,
  );
  for (const [name, each] of ratios)
    console.log(`  ${name.padEnd(7)} ${each.sort((a, b) => a - b)[Math.floor(each.length / 2)].toFixed(2)}`);
  await api.close();
  await pool.close();
} finally {
  await server?.stop('fast');
  await rm(folder, { recursive: true, force: true });
}

async function fill(url: string): Promise<void> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'bench' });
  await migrate(client);
  await client.query(
    `INSERT INTO tick_data (provider, symbol, ts, seq, price, size, bid, ask, side)
     SELECT 'binance', 'BTCUSDT', timestamptz '2025-01-01Z' + n * interval '1037 microseconds', n,
            100000 + round((random() * 100)::numeric, 2)::float8, round((random() * 10)::numeric, 5)::float8,
            CASE WHEN n % 3 > 0 THEN 100000 + round((random() * 100)::numeric, 2)::float8 END,
            CASE WHEN n % 3 > 0 THEN 100000 + round((random() * 100)::numeric, 2)::float8 END,
            CASE n % 3 WHEN 0 THEN 1 WHEN 1 THEN -1 END
       FROM generate_series(1, ${ROWS}) n`,
  );
  await client.query('VACUUM ANALYZE tick_data');
  await client.end();
}

async function byPsql(): Promise<number> {
  const file = join(folder, 'reference');
  const sql = `select provider, symbol, ts, price, size, bid, ask, side, seq from tick_data where provider = 'binance' and symbol = 'BTCUSDT' order by ts, seq`;
  const beganMs = performance.now();
  await promisify(execFile)('psql', ['-X', '-q', '-c', `\\copy (${sql}) to '${file}'`, url]);
  const ms = performance.now() - beganMs;
  await rm(file);
  return ms;
}

async function byCurl(address: string, format: string): Promise<number> {
  const file = join(folder, 'range');
  const url = `${address}/v1/ticks/BTCUSDT/range?provider=binance&start=2025-01-01&format=${format}`;
  const beganMs = performance.now();
  await promisify(execFile)('curl', ['-sS', '--fail', '-o', file, url]);
  const ms = performance.now() - beganMs;
  if ((await stat(file)).size < ROWS) throw new Error('rows are missing');
  await rm(file);
  return ms;
}
