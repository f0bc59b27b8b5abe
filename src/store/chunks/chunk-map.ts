import type { Client } from 'pg';
import { ChunkMap, type ChunkNumbers, type TimeSpan } from '../../core/chain/chunk-map.ts';
import { formatMicros } from '../../core/time.ts';
import { detectEdition } from '../postgres/server-info.ts';
import { microsOf } from '../postgres/time-sql.ts';

/** The tables of the chain by time, and their column of times. */
export const TIME_COLUMNS = { ticks: '"timestamp"', tick_transactions: 'tick_timestamp' } as const;
export type TimedTable = keyof typeof TIME_COLUMNS;

/** Chunks that one statement asks for their numbers: it locks each, with its indexes. */
const CHUNKS_PER_QUERY = 16;

/** What a caller does around each statement, such as to release its locks. */
export type Around = <T>(work: () => Promise<T>) => Promise<T>;

/** Asks every chunk for its lowest and highest number, some ms each. Null: a plain table. */
export async function readChunkMap(
  client: Client,
  table: TimedTable,
  around: Around = (work) => work(),
): Promise<ChunkMap | null> {
  const { timescale, usable } = await detectEdition(client);
  if (timescale === null || !usable) return null;
  const { rows } = await client.query<Record<'from' | 'to', string>>(
    `SELECT ${microsOf('range_start')} AS from, ${microsOf('range_end')} AS to FROM timescaledb_information.chunks
      WHERE hypertable_name = $1
        AND to_regclass(quote_ident(hypertable_name)) = to_regclass(format('%I.%I', hypertable_schema, hypertable_name))
      ORDER BY range_start`,
    [table],
  );
  if (rows.length === 0) return null;
  const chunks: ChunkNumbers[] = [];
  for (let at = 0; at < rows.length; at += CHUNKS_PER_QUERY) {
    const part = rows
      .slice(at, at + CHUNKS_PER_QUERY)
      .map((row) => ({ from: BigInt(row.from), to: BigInt(row.to) }));
    const asked = part.map(
      (span, nth) =>
        `SELECT ${nth} AS nth, min(tick_number) AS first, max(tick_number) AS last FROM ${table} WHERE ${withinSpan(table, span)}`,
    );
    const found = await around(() =>
      client.query<{ nth: number; first: string | null; last: string | null }>(asked.join(' UNION ALL ')),
    );
    for (const { nth, first, last } of found.rows) {
      if (first === null || last === null) continue;
      chunks.push({ ...part[nth], first: BigInt(first), last: BigInt(last) });
    }
  }
  return new ChunkMap(chunks);
}

/**
 * Rows of a table that meet a condition, within these spans; null: wherever. A SELECT for each span, as only constants that are
 * joined by AND keep chunks out of a plan.
 */
export function selectWithin(
  table: TimedTable,
  columns: string,
  condition: string,
  spans: readonly TimeSpan[] | null,
): string {
  if (spans === null) return `SELECT ${columns} FROM ${table} WHERE ${condition}`;
  return spans
    .map((span) => `SELECT ${columns} FROM ${table} WHERE ${condition} AND ${withinSpan(table, span)}`)
    .join(' UNION ALL ');
}

/** A condition of constants. */
export function withinSpan(table: TimedTable, { from, to }: TimeSpan): string {
  const column = TIME_COLUMNS[table];
  const bounds = [
    ...(from === null ? [] : [`${column} >= timestamptz '${formatMicros(from)}'`]),
    ...(to === null ? [] : [`${column} < timestamptz '${formatMicros(to)}'`]),
  ];
  return bounds.length === 0 ? 'true' : bounds.join(' AND ');
}
