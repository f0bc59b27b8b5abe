import { escapeLiteral, type Client } from 'pg';
import { ByteSink } from '../../core/copy/sink.ts';
import type { Batch } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';
import { CopyBatches } from '../../core/table/copy-batches.ts';
import { formatMicros, type Micros } from '../../core/time.ts';
import { copyOut } from '../postgres/copy-out.ts';
import { copyStream } from '../postgres/copy-stream.ts';

/** A column with the SQL expression that gives it: of type text, float8, int8, int2, bool or timestamptz, as its type says. */
export type SqlColumn = Column & { readonly sql?: string };

/** A statement whose rows have these columns. */
export interface Query {
  readonly columns: readonly SqlColumn[];
  /** a SELECT, without ORDER BY and LIMIT where those are given apart */
  readonly sql: string;
  /** settings of the planner that are off for it */
  readonly off?: readonly string[];
}

/** A page of rows, and whether more follow. */
export interface Page {
  batch: Batch;
  hasMore: boolean;
}

/** A page of rows is at most so large; beyond it the read fails with CopyTooLargeError. */
const PAGE_BYTES_MAX = 256 * 1024 * 1024;

/** `expression AS "name", …` of the columns that the store sends. */
export function selectList(columns: readonly SqlColumn[]): string {
  return columns
    .filter(({ constant }) => constant === undefined)
    .map(({ name, sql }) => (sql === undefined ? `"${name}"` : `${sql} AS "${name}"`))
    .join(', ');
}

/**
 * A text as a literal: COPY takes no parameters.
 * @throws RangeError for U+0000, which no text of PostgreSQL can hold
 */
export function textLiteral(text: string): string {
  if (text.includes('\0')) throw new RangeError('a text with U+0000');
  return escapeLiteral(text);
}

/** The years that timestamptz and ISO-8601 with four digits have in common */
const YEAR_1 = -62_135_596_800_000_000n;
const YEAR_10000 = 253_402_300_800_000_000n;

/** A time as a literal; beyond the years 1 to 9999 infinite. A constant: the planner sees which chunks it means. */
export function timeLiteral(micros: Micros): string {
  if (micros < YEAR_1) return "timestamptz '-infinity'";
  if (micros >= YEAR_10000) return "timestamptz 'infinity'";
  return `timestamptz '${formatMicros(micros)}'`;
}

/** Reads at most `rowsMax` rows. */
export async function readPage(
  client: Client,
  { columns, sql, off = [] }: Query,
  rowsMax: number,
): Promise<Page> {
  const sink = new ByteSink();
  const rows = new CopyBatches(columns);
  const copy = copyOf(`${sql} LIMIT ${rowsMax + 1}`);
  const settings = off.map((name) => `SET LOCAL ${name} = off; `).join('');
  const statements = off.length === 0 ? copy : `BEGIN READ ONLY; ${settings}${copy}; COMMIT`;
  await copyOut(client, statements, [sink], PAGE_BYTES_MAX);
  rows.add(sink.bytes.subarray(0, sink.length), rowsMax);
  return { batch: rows.take(), hasMore: rows.hasMore };
}

/** All rows, in one snapshot; the server waits while nobody takes them. */
export async function* readBatches(
  client: Client,
  { columns, sql }: Query,
): AsyncGenerator<Batch, void, undefined> {
  const rows = new CopyBatches(columns);
  for await (const page of copyStream(client, copyOf(sql))) {
    rows.add(page);
    if (rows.rows > 0) yield rows.take();
  }
  if (!rows.hasEnded) throw new RangeError('the rows have no end');
}

function copyOf(sql: string): string {
  return `COPY (${sql}) TO STDOUT (FORMAT binary)`;
}
