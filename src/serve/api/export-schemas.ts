import { z } from 'zod';
import { FORMS } from '../../core/export/format.ts';
import { PARTITION_KEYS } from '../../core/export/layout.ts';
import { CHAIN_TABLES, DATASETS, type ExportRequest } from '../../core/export/request.ts';
import { intervalName, parseInterval } from '../../core/market/interval.ts';
import type { ExportJob } from '../export/export-jobs.ts';
import { ApiError } from './errors.ts';
import { provider, symbol, time } from './parameters.ts';

/** Bodies and answers of the routes of exports. */

const SYMBOLS_MAX = 10_000;

export const exportBody = z
  .strictObject({
    dataset: z.enum(DATASETS),
    provider: provider.optional().meta({ description: 'Needed by all but the chain.' }),
    symbols: z
      .array(symbol)
      .min(1)
      .max(SYMBOLS_MAX)
      .optional()
      .meta({ description: 'Default: all of the provider.' }),
    start: time,
    end: time,
    interval: z
      .array(z.string().max(16))
      .min(1)
      .max(20)
      .optional()
      .meta({ description: 'Of bars. Default: 1m.' }),
    run_id: z
      .union([z.enum(['live', 'all']), z.int().min(1)])
      .optional()
      .meta({ description: 'Of bars and signals. Default: live.' }),
    table: z.enum(CHAIN_TABLES).optional().meta({ description: 'Of the chain. Default: ticks.' }),
    output: z
      .string()
      .min(1)
      .max(512)
      .meta({ description: 'A path below the export folder; its ending says the format.' }),
    format: z.enum(FORMS).optional(),
    partition_by: z.array(z.enum(PARTITION_KEYS)).max(PARTITION_KEYS.length).optional(),
    excel_safe: z.boolean().optional(),
    incremental: z
      .boolean()
      .optional()
      .meta({ description: 'Only what came since the last export to output.' }),
  })
  .meta({
    id: 'ExportRequest',
    description: 'Which rows, and where to',
    example: {
      dataset: 'ticks',
      provider: 'ibkr',
      symbols: ['NVDA', 'AAPL'],
      start: '2025-11-03T14:00:00Z',
      end: '2025-11-03T15:00:00Z',
      output: 'ticks/ibkr_2025110314.csv',
    },
  });

export const exportStarted = z
  .object({ run_id: z.number(), status: z.literal('running'), output: z.string() })
  .meta({
    id: 'ExportStarted',
    description: 'The run of an export; GET /v1/exports/{run_id} tells how it goes',
  });

const file = z
  .object({
    path: z.string(),
    rows: z.number(),
    bytes: z.number(),
    sha256: z.string(),
    min_ts: z.string().nullable(),
    max_ts: z.string().nullable(),
  })
  .meta({ id: 'ExportedFile', description: 'A file of an export, below the export folder' });

export const exportFiles = z
  .object({ items: z.array(file) })
  .meta({ id: 'ExportedFiles', description: 'The files that a run wrote' });

/** @throws ApiError for what the schema cannot say */
export function jobOf(body: z.output<typeof exportBody>): ExportJob {
  const { dataset, start, end } = body;
  if (start >= end) throw badField('start', 'is not before end');
  if (dataset !== 'chain' && body.provider === undefined) throw badField('provider', 'is needed');
  const partitionBy = PARTITION_KEYS.filter((key) => body.partition_by?.includes(key) === true);
  if (dataset === 'chain' && partitionBy.includes('symbol'))
    throw badField('partition_by', 'the chain has no symbols');
  if (dataset === 'chain' && body.incremental === true)
    throw badField('incremental', 'is not possible of the chain');
  if (body.excel_safe === true && (body.format === 'parquet' || /\.(?:parquet|pq)$/i.test(body.output)))
    throw badField('excel_safe', 'is for CSV');
  const run = body.run_id ?? 'live';
  const request: ExportRequest = {
    dataset,
    provider: dataset === 'chain' ? null : (body.provider ?? null),
    symbols: body.symbols === undefined || dataset === 'chain' ? null : [...new Set(body.symbols)].sort(),
    start,
    end,
    intervals: dataset === 'bars' ? intervalsOf(body.interval ?? ['1m']) : [],
    run: typeof run === 'number' ? BigInt(run) : run,
    table: body.table ?? 'ticks',
  };
  return {
    request,
    output: body.output,
    form: body.format ?? null,
    partitionBy,
    isForSpreadsheets: body.excel_safe === true,
    isIncremental: body.incremental === true,
  };
}

function intervalsOf(texts: readonly string[]): string[] {
  const names = texts.map((text) => {
    const ms = parseInterval(text);
    if (ms === null) throw badField('interval', 'is no interval such as 500ms, 1m or 1h');
    return intervalName(ms);
  });
  return [...new Set(names)].sort();
}

function badField(name: string, problem: string): ApiError {
  return new ApiError('bad_request', `${name} ${problem}`, {
    details: [{ path: `body.${name}`, message: problem }],
  });
}
