import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { StoreClient } from '../../../src/store/store-client.ts';
import { noOracle, runOracle } from '../../support/python.ts';
import { Program } from '../../support/run/program.ts';
import { findPsql } from '../../support/servers/postgres.ts';
import { mebibytes, Skipped, type Figures, type ScenarioContext } from '../harness.ts';

export interface FilesPlan {
  ticks: number;
  /** of the rate of psql; null: not judged */
  csvRatioMin: number | null;
}

const RANGE = ['--provider', 'ibkr', '--start', '2025-01-01', '--end', '2026-01-01'];
/** the rows and the order of an export, with times as psql has them */
const SELECT =
  "SELECT provider, symbol, price, ts, size, bid, ask, side, seq, created_at FROM tick_data WHERE provider = 'ibkr' ORDER BY ts, symbol, seq";
/** the memory of one export may grow by no more with ten times the rows */
const GROWTH_MAX = 1.5;

/**
 * Ticks as CSV and Parquet: their rate beside psql's and DuckDB's, the memory at its highest, and that DuckDB, pandas, polars and
 * pyarrow read the table from them.
 */
export async function writesFiles(context: ScenarioContext, plan: FilesPlan): Promise<Figures> {
  const missing = noOracle();
  if (missing !== false) throw new Skipped(missing);
  const psql = findPsql();
  if (psql === null) throw new Skipped('no psql');
  const url = await context.database();
  const folder = await mkdtemp(join(tmpdir(), 'tick-export-'));
  try {
    await insert(url, plan.ticks);
    const small = await timed(url, join(folder, 'small.csv'), ['--end', '2025-01-06T12:00:00Z']);
    const csv = await timed(url, join(folder, 'ticks.csv'));
    const beganMs = performance.now();
    await promisify(execFile)(psql, [
      url,
      '-qc',
      `\\copy (${SELECT}) TO '${join(folder, 'psql.csv')}' CSV HEADER`,
    ]);
    const psqlSeconds = (performance.now() - beganMs) / 1000;
    const parquet = await timed(url, join(folder, 'ticks.parquet'));
    await timed(url, join(folder, 'set'), ['--partition-by', 'day,symbol']);
    context.say('comparing what is read back');
    const read = JSON.parse(await runOracle('exports.py', [url, folder])) as {
      rows: number;
      seconds: number;
    };
    assert.equal(read.rows, plan.ticks);
    const ratio = psqlSeconds / csv.seconds;
    if (plan.csvRatioMin !== null) {
      assert.ok(ratio >= plan.csvRatioMin, `CSV at ${ratio.toFixed(2)} of the rate of psql`);
      const growth = csv.peakBytes / small.peakBytes;
      assert.ok(growth < GROWTH_MAX, `memory grew by ${growth.toFixed(1)}`);
    }
    const rate = (seconds: number): number => Math.round(plan.ticks / seconds);
    return {
      ticks: plan.ticks,
      'CSV, rows/s': rate(csv.seconds),
      'psql \\copy, rows/s': rate(psqlSeconds),
      'CSV / psql': ratio.toFixed(2),
      'Parquet, rows/s': rate(parquet.seconds),
      "DuckDB's COPY to Parquet, rows/s": rate(read.seconds),
      'CSV, Parquet, bytes': `${await sizeOf(folder, 'ticks.csv')}, ${await sizeOf(folder, 'ticks.parquet')}`,
      'memory: CSV of a tenth, CSV, Parquet': [small, csv, parquet]
        .map(({ peakBytes }) => mebibytes(peakBytes))
        .join(', '),
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function sizeOf(folder: string, name: string): Promise<number> {
  return (await stat(join(folder, name))).size;
}

/** A program of its own, as an operator runs it: start and end are part of its time. */
async function timed(
  url: string,
  output: string,
  more: readonly string[] = [],
): Promise<{ seconds: number; peakBytes: number }> {
  const beganMs = performance.now();
  const program = new Program('mdp', ['export', 'ticks', ...RANGE, '--output', output, ...more], {
    DATABASE_URL: url,
  });
  let peakBytes = 0;
  const timer = setInterval(() => (peakBytes = Math.max(peakBytes, program.peakBytes())), 50);
  const { code } = await program.ended;
  clearInterval(timer);
  assert.equal(code, 0, program.tail);
  return { seconds: (performance.now() - beganMs) / 1000, peakBytes };
}

async function insert(url: string, count: number): Promise<void> {
  const store = new StoreClient({ dbUri: url });
  await store.migrate();
  await store.aclose();
  const client = new Client(url);
  await client.connect();
  try {
    await client.query(
      `INSERT INTO tick_data (provider, symbol, price, ts, size, bid, ask, side, seq)
       SELECT 'ibkr', (ARRAY['SPY', 'QQQ', 'IWM', 'DIA'])[1 + i % 4],
              round((100 + 50 * sin(i / 100000.0) + (i * 7919 % 1000) / 1000.0)::numeric, 2)::float8,
              timestamptz '2025-01-06 00:00+00' + i * interval '40 milliseconds' + (i % 997) * interval '1 microsecond',
              CASE WHEN i % 11 = 0 THEN NULL ELSE 1 + i * 31 % 500 END,
              round((100 + 50 * sin(i / 100000.0))::numeric, 2)::float8 - 0.01,
              round((100 + 50 * sin(i / 100000.0))::numeric, 2)::float8 + 0.01,
              CASE i % 3 WHEN 0 THEN 1 WHEN 1 THEN -1 END, i
         FROM generate_series(0::bigint, $1::bigint - 1) i`,
      [count],
    );
    await client.query('VACUUM ANALYZE tick_data');
  } finally {
    await client.end();
  }
}
