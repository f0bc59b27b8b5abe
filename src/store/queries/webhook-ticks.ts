import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query, type SqlColumn } from './query.ts';

/** md_ticks: what came by POST /ingest/tick. Their order is (ts, source, seq). */

/** What tells a tick from all others of its symbol. */
export interface WebhookTickKey {
  ts: Micros;
  source: string;
  seq: bigint;
}

export interface WebhookTickFilter {
  symbol: string;
  /** null: all */
  source: string | null;
  /** µs since 1970; null: open */
  from: Micros | null;
  /** included */
  to: Micros | null;
  order: 'oldest first' | 'newest first';
  /** the last tick of the page before */
  after: WebhookTickKey | null;
}

export function webhookTickColumns(symbol: string): readonly SqlColumn[] {
  return [
    { name: 'kind', type: 'text', constant: 'webhook' },
    { name: 'source', type: 'text', repeats: true },
    { name: 'symbol', type: 'text', constant: symbol },
    { name: 'ts', type: 'timestamp' },
    { name: 'price', type: 'decimal', sql: 'price::text' },
    { name: 'volume', type: 'decimal', sql: 'volume::text' },
    { name: 'seq', type: 'int64' },
  ];
}

/** Ticks of a symbol between two times. */
export function webhookTicks({ symbol, source, from, to, order, after }: WebhookTickFilter): Query {
  const columns = webhookTickColumns(symbol);
  const conditions = [`symbol = ${textLiteral(symbol)}`];
  if (source !== null) conditions.push(`source = ${textLiteral(source)}`);
  if (from !== null) conditions.push(`ts >= ${timeLiteral(from)}`);
  if (to !== null) conditions.push(`ts <= ${timeLiteral(to)}`);
  if (after !== null) {
    const sign = order === 'oldest first' ? '>' : '<';
    const at = timeLiteral(after.ts);
    // the first one tells the planner which chunks are meant
    conditions.push(
      `ts ${sign}= ${at}`,
      `(ts, source, seq) ${sign} (${at}, ${textLiteral(after.source)}, ${after.seq})`,
    );
  }
  const direction = order === 'oldest first' ? '' : ' DESC';
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM md_ticks WHERE ${conditions.join(' AND ')}
      ORDER BY ts${direction}, source${direction}, seq${direction}`,
  };
}
