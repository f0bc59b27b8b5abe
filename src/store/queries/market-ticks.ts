import type { Client } from 'pg';
import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query, type SqlColumn } from './query.ts';

/** tick_data: market ticks. Their order is (ts, provider, seq). */

/** What tells a tick from all others of its symbol. */
export interface MarketTickKey {
  ts: Micros;
  provider: string;
  seq: bigint;
}

export interface MarketTickFilter {
  symbol: string;
  /** those that have the symbol, or the one that is meant */
  providers: readonly string[];
  /** µs since 1970; null: open */
  from: Micros | null;
  /** included */
  to: Micros | null;
  order: 'oldest first' | 'newest first';
  /** the last tick of the page before */
  after: MarketTickKey | null;
  /** rows that are read at most; null: all */
  rowsMax: number | null;
}

const OTHERS: readonly SqlColumn[] = [
  { name: 'price', type: 'float64' },
  { name: 'size', type: 'float64' },
  { name: 'bid', type: 'float64' },
  { name: 'ask', type: 'float64' },
  { name: 'side', type: 'int16' },
  { name: 'seq', type: 'int64' },
];

/** Of one symbol and of one provider or several: what is the same in every row is not sent. */
export function marketTickColumns(symbol: string, providers: readonly string[]): readonly SqlColumn[] {
  const provider: SqlColumn = { name: 'provider', type: 'text', repeats: true };
  return [
    { name: 'kind', type: 'text', constant: 'market' },
    providers.length === 1 ? { ...provider, constant: providers[0] } : provider,
    { name: 'symbol', type: 'text', constant: symbol },
    { name: 'ts', type: 'timestamp' },
    ...OTHERS,
  ];
}

/** Ticks of a symbol between two times. Of several providers each one's index is read in order, and the rows are merged. */
export function marketTicks(filter: MarketTickFilter): Query {
  const { symbol, providers, rowsMax } = filter;
  const columns = marketTickColumns(symbol, providers);
  const direction = filter.order === 'oldest first' ? '' : ' DESC';
  const inOrder = `ORDER BY ts${direction}, seq${direction}`;
  const branch = (provider: string): string =>
    `SELECT ${selectList(columns)} FROM tick_data WHERE ${conditionsOf(provider, filter).join(' AND ')} ${inOrder}`;
  // no provider is called so: nothing is found
  if (providers.length === 0) return { columns, sql: branch('') };
  if (providers.length === 1) return { columns, sql: branch(providers[0]) };
  const limit = rowsMax === null ? '' : ` LIMIT ${rowsMax + 1}`;
  const branches = providers.map((provider) => `(${branch(provider)}${limit})`);
  return {
    columns,
    sql: `SELECT * FROM (${branches.join(' UNION ALL ')}) t ORDER BY ts${direction}, provider${direction}, seq${direction}`,
  };
}

function conditionsOf(provider: string, { symbol, from, to, order, after }: MarketTickFilter): string[] {
  const conditions = [`provider = ${textLiteral(provider)}`, `symbol = ${textLiteral(symbol)}`];
  if (from !== null) conditions.push(`ts >= ${timeLiteral(from)}`);
  if (to !== null) conditions.push(`ts <= ${timeLiteral(to)}`);
  if (after === null) return conditions;
  const sign = order === 'oldest first' ? '>' : '<';
  const at = timeLiteral(after.ts);
  // names of providers are ASCII, so they compare here as they do by the collation "C"
  if (provider === after.provider)
    conditions.push(`ts ${sign}= ${at}`, `(ts, seq) ${sign} (${at}, ${after.seq})`);
  else if (provider > after.provider === (order === 'oldest first')) conditions.push(`ts ${sign}= ${at}`);
  else conditions.push(`ts ${sign} ${at}`);
  return conditions;
}

/**
 * The providers that have ticks of a symbol, in order. Each step goes to the next name in the index: what it costs is the
 * number of providers, not that of ticks.
 */
export async function providersOf(client: Client, symbol: string): Promise<string[]> {
  const { rows } = await client.query<{ provider: string }>(
    `${PROVIDERS} SELECT provider FROM providers p
      WHERE provider IS NOT NULL
        AND EXISTS (SELECT FROM tick_data t WHERE t.provider = p.provider AND t.symbol = $1)`,
    [symbol],
  );
  return rows.map(({ provider }) => provider);
}

/** WITH RECURSIVE providers(provider): all of tick_data, in order, and a null at the end. */
export const PROVIDERS = `
WITH RECURSIVE providers AS (
  (SELECT provider FROM tick_data ORDER BY provider LIMIT 1)
  UNION ALL
  SELECT (SELECT t.provider FROM tick_data t WHERE t.provider > p.provider ORDER BY t.provider LIMIT 1)
    FROM providers p WHERE p.provider IS NOT NULL
)`;
