import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from 'pg';
import type { Test } from 'tap';
import { formByName, type FormName } from '../../../src/core/export/format.ts';
import type { PartitionKey } from '../../../src/core/export/layout.ts';
import type { ExportRequest } from '../../../src/core/export/request.ts';
import { parseIsoMicros, systemClock } from '../../../src/core/time.ts';
import { runExport, type ExportOptions, type ExportReport } from '../../../src/serve/export/exporter.ts';
import { openTarget } from '../../../src/serve/export/targets/open.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { StoreClient } from '../../../src/store/store-client.ts';

/** A migrated database, a client on it, and a folder for files; gone after the test. */
export interface ExportDatabase {
  url: string;
  client: Client;
  store: StoreClient;
  folder: string;
  export(output: string, more?: ExportArguments): Promise<ExportReport>;
}

export interface ExportArguments extends Partial<ExportRequest> {
  form?: FormName;
  partitionBy?: readonly PartitionKey[];
  options?: Partial<ExportOptions>;
}

export const TICKS: ExportRequest = {
  dataset: 'ticks',
  provider: 'ibkr',
  symbols: null,
  start: parseIsoMicros('2025-01-01'),
  end: parseIsoMicros('2026-01-01'),
  intervals: [],
  run: 'live',
  table: 'ticks',
};

export async function exportDatabase(t: Test, url: string): Promise<ExportDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-export-'));
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  const store = new StoreClient({ dbUri: url, applicationName: 'test' });
  await store.migrate();
  t.teardown(async () => {
    await store.aclose();
    await client.end();
    await rm(folder, { recursive: true });
  });
  return {
    url,
    client,
    store,
    folder,
    async export(output, { form, partitionBy = [], options = {}, ...request } = {}) {
      const { target, name } = await openTarget(output.includes('://') ? output : join(folder, output), {
        isFolder: partitionBy.length > 0,
        isPathStyle: true,
      });
      return runExport({
        databaseUrl: url,
        applicationName: 'test export',
        jobRuns: store.jobRuns,
        clock: systemClock,
        request: { ...TICKS, ...request },
        target,
        layout: { name, form: form ?? formByName(output) ?? 'parquet', partitionBy },
        isForSpreadsheets: false,
        isIncremental: false,
        asOf: null,
        ...options,
      });
    },
  };
}

/** Ticks of some symbols, 250 ms apart, some of them empty but for their price. */
export async function insertTicks(
  client: Client,
  {
    count,
    symbols = ['AAPL', 'NVDA'],
    from = '2025-01-06',
    seqFrom = 0,
  }: {
    count: number;
    symbols?: readonly string[];
    from?: string;
    seqFrom?: number;
  },
): Promise<void> {
  await client.query(
    `INSERT INTO tick_data (provider, symbol, price, ts, size, bid, ask, side, seq)
     SELECT 'ibkr', ($2::text[])[1 + i % $3], 100 + (i * 7919 % 1000) / 1000.0::float8, $4::timestamptz + i * interval '250001 microseconds',
            CASE WHEN i % 7 = 0 THEN NULL ELSE i % 500 + 0.5 END, CASE WHEN i % 5 = 0 THEN NULL ELSE 99.1 + i % 3 END,
            100.3 + i % 3, CASE i % 3 WHEN 0 THEN 1 WHEN 1 THEN -1 END, $5 + i
       FROM generate_series(0, $1::bigint - 1) i`,
    [count, symbols, symbols.length, `${from}T00:00:00Z`, seqFrom],
  );
}
