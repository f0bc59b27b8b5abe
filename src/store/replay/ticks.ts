import type { Client } from 'pg';
import type { ReplayPosition, Series } from '../../core/replay/position.ts';
import type { ReplayRequest, ReplaySource } from '../../core/replay/request.ts';
import { ReplayRows } from '../../core/replay/rows.ts';
import { readPage, selectList, textLiteral, timeLiteral, type SqlColumn } from '../queries/query.ts';

/** What a page of a replay is read with. */
export interface ReplayPageQuery {
  source: ReplaySource;
  /** in their order: a row has the number of its own */
  series: readonly Series[];
  request: Pick<ReplayRequest, 'startUs' | 'endUs' | 'interval'>;
  /** text of a pg_snapshot: rows that it does not see are left out */
  snapshot: string;
}

/** Of a page: where it begins, and how many rows it has at most. */
export interface PageFrom {
  /** behind this tick; null: from the first one at or behind fromUs */
  after: ReplayPosition | null;
  fromUs: bigint;
  rowsMax: number;
}

const HEAD: readonly SqlColumn[] = [
  { name: 'ts', type: 'timestamp' },
  { name: 'series', type: 'int16' },
  { name: 'seq', type: 'int64' },
];

/**
 * Without these the planner would rather read and sort the whole range for each page than merge what the key gives in order. (What
 * has one time is still sorted: enable_incremental_sort stays on.)
 */
const UNUSED = ['enable_sort', 'enable_bitmapscan', 'enable_seqscan'];

interface Source {
  table: string;
  provider: string;
  /** SQL of what identifies a row of its series and time */
  seq: string;
  /** of a series, as its key has it */
  order: string;
  numbers: readonly SqlColumn[];
  others: readonly SqlColumn[];
  /** what a row is written again with has another transaction: a snapshot would lose it */
  isInsertOnly: boolean;
}

function number(name: string, sql = name): SqlColumn {
  return { name, type: 'float64', sql };
}

const SOURCES: Readonly<Record<ReplaySource, Source>> = {
  tick_data: {
    table: 'tick_data',
    provider: 'provider',
    seq: 'seq',
    order: 'ts, seq',
    numbers: [number('price'), number('size'), number('bid'), number('ask')],
    others: [{ name: 'side', type: 'int16' }],
    isInsertOnly: true,
  },
  md_ticks: {
    table: 'md_ticks',
    provider: 'source',
    seq: 'seq',
    order: 'ts, seq',
    numbers: [
      number('price', 'price::float8'),
      number('size', 'volume::float8'),
      number('bid', 'NULL::float8'),
      number('ask', 'NULL::float8'),
    ],
    others: [{ name: 'side', type: 'int16', sql: 'NULL::int2' }],
    isInsertOnly: true,
  },
  bars: {
    table: 'bars_ohlcv',
    provider: 'provider',
    seq: '0::bigint',
    order: 'ts',
    numbers: [number('open'), number('high'), number('low'), number('close'), number('volume')],
    others: [],
    isInsertOnly: false,
  },
};

/** What is committed now, as text of a pg_snapshot. */
export async function currentSnapshot(client: Client): Promise<string> {
  const { rows } = await client.query<{ now: string }>('SELECT pg_current_snapshot()::text AS now');
  return rows[0].now;
}

/**
 * A page in the order of (time, series, seq), and whether more rows follow. One statement with a branch for each series, which
 * reads its part of the key in order; the branches are merged.
 */
export async function readReplayPage(
  client: Client,
  query: ReplayPageQuery,
  from: PageFrom,
): Promise<{ rows: ReplayRows; hasMore: boolean }> {
  const { numbers, others } = SOURCES[query.source];
  const columns = [...HEAD, ...numbers, ...others];
  const { batch, hasMore } = await readPage(
    client,
    { columns, sql: pageSql(query, from, columns), off: UNUSED },
    from.rowsMax,
  );
  return {
    rows: new ReplayRows(
      batch,
      numbers.map(({ name }) => name),
    ),
    hasMore,
  };
}

function pageSql(query: ReplayPageQuery, from: PageFrom, columns: readonly SqlColumn[]): string {
  const source = SOURCES[query.source];
  const branches = query.series.map((each, at) => {
    const list = columns.map((column) => {
      if (column.name === 'series') return `${at}::int2 AS series`;
      if (column.name === 'seq') return `${source.seq} AS seq`;
      return selectList([column]);
    });
    const where = conditionsOf(query, each, from).join(' AND ');
    return `(SELECT ${list.join(', ')} FROM ${source.table} d WHERE ${where} ORDER BY ${source.order})`;
  });
  return `SELECT * FROM (${branches.join('\nUNION ALL ')}) t ORDER BY ts, series, seq`;
}

function conditionsOf(
  { source: name, request, snapshot }: ReplayPageQuery,
  each: Series,
  { after, fromUs }: PageFrom,
): string[] {
  const source = SOURCES[name];
  const conditions = [
    `${source.provider} = ${textLiteral(each.provider)}`,
    `symbol = ${textLiteral(each.symbol)}`,
    `ts < ${timeLiteral(request.endUs)}`,
  ];
  if (name === 'bars') conditions.push(`"interval" = ${textLiteral(request.interval ?? '')}`, 'is_final');
  if (source.isInsertOnly)
    conditions.push(`pg_visible_in_snapshot(tx, ${textLiteral(snapshot)}::pg_snapshot)`);
  if (after === null) return [...conditions, `ts >= ${timeLiteral(fromUs)}`];
  const at = timeLiteral(after.tsUs);
  const order = orderOf(each, after);
  if (order < 0) return [...conditions, `ts > ${at}`];
  // the first one tells the planner which chunks are meant
  if (order > 0) return [...conditions, `ts >= ${at}`];
  if (name === 'bars') return [...conditions, `ts > ${at}`];
  return [...conditions, `ts >= ${at}`, `(ts, seq) > (${at}, ${after.seq})`];
}

/** Negative: rows of this series come before those of the position at the same time. */
function orderOf(each: Series, after: Series): number {
  return (
    Buffer.compare(Buffer.from(each.provider), Buffer.from(after.provider)) ||
    Buffer.compare(Buffer.from(each.symbol), Buffer.from(after.symbol))
  );
}

/** Of these symbols those of which no source has anything, whatever the time. */
export async function unknownSymbols(
  client: Client,
  { providers, symbols, sources, interval }: ReplayRequest,
): Promise<string[]> {
  const looks = sources.map((name) => {
    const { table, provider } = SOURCES[name];
    const ofInterval = name === 'bars' ? ' AND d."interval" = $3' : '';
    return `EXISTS (SELECT FROM unnest($2::text[]) p, LATERAL
      (SELECT FROM ${table} d WHERE d.${provider} = p AND d.symbol = s.symbol${ofInterval} LIMIT 1) found)`;
  });
  const { rows } = await client.query<{ symbol: string }>(
    `SELECT symbol FROM unnest($1::text[]) s (symbol) WHERE $3::text IS NOT DISTINCT FROM $3 AND NOT (${looks.join(' OR ')})`,
    [symbols, providers, interval],
  );
  return rows.map(({ symbol }) => symbol);
}
