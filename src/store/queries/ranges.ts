import type { Micros } from '../../core/time.ts';
import { selectList, textLiteral, timeLiteral, type Query, type SqlColumn } from './query.ts';

/** md_ranges: what the webhook ticks of a minute amount to. The windows of a symbol do not overlap. */

const AGGREGATES: readonly SqlColumn[] = [
  { name: 'open', type: 'decimal', sql: "agg->>'open'" },
  { name: 'high', type: 'decimal', sql: "agg->>'high'" },
  { name: 'low', type: 'decimal', sql: "agg->>'low'" },
  { name: 'close', type: 'decimal', sql: "agg->>'close'" },
  { name: 'volume', type: 'decimal', sql: "agg->>'volume'" },
  { name: 'count', type: 'count', sql: "(agg->>'count')::bigint" },
];

export function rangeColumns(symbol: string): readonly SqlColumn[] {
  return [
    { name: 'symbol', type: 'text', constant: symbol },
    { name: 'start', type: 'timestamp', sql: 'lower("window")' },
    { name: 'end', type: 'timestamp', sql: 'upper("window")' },
    ...AGGREGATES,
  ];
}

/** The range that covers a time: one row, or none. */
export function rangeAt(symbol: string, at: Micros): Query {
  const columns = rangeColumns(symbol);
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM md_ranges WHERE symbol = ${textLiteral(symbol)} AND "window" @> ${timeLiteral(at)}`,
  };
}

/** Ranges that share a moment with [from, to), in order. */
export function rangesWithin(symbol: string, from: Micros, to: Micros, after: Micros | null): Query {
  const columns = rangeColumns(symbol);
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM (${overlapping(symbol, from, to, after)}) r ORDER BY "window"`,
  };
}

/** The same as one row: open of the first, close of the last, highest, lowest, sums; no row where there is no range. */
export function mergedRange(symbol: string, from: Micros, to: Micros): Query {
  const columns: readonly SqlColumn[] = [
    { name: 'symbol', type: 'text', constant: symbol },
    { name: 'start', type: 'timestamp', sql: 'min(lower("window"))' },
    { name: 'end', type: 'timestamp', sql: 'max(upper("window"))' },
    { name: 'open', type: 'decimal', sql: firstOf('open', '') },
    { name: 'high', type: 'decimal', sql: "max((agg->>'high')::numeric)::text" },
    { name: 'low', type: 'decimal', sql: "min((agg->>'low')::numeric)::text" },
    { name: 'close', type: 'decimal', sql: firstOf('close', ' DESC') },
    { name: 'volume', type: 'decimal', sql: "sum((agg->>'volume')::numeric)::text" },
    { name: 'count', type: 'count', sql: "sum((agg->>'count')::bigint)::bigint" },
  ];
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM (${overlapping(symbol, from, to, null)}) r HAVING count(*) > 0`,
  };
}

/**
 * By the key (symbol, window), in whose order a window comes by its beginning: those that begin in [from, to), and the one
 * before them, where it reaches beyond `from`.
 */
function overlapping(symbol: string, from: Micros, to: Micros, after: Micros | null): string {
  const ofSymbol = `FROM md_ranges WHERE symbol = ${textLiteral(symbol)}`;
  const begun = (micros: Micros): string =>
    `SELECT "window", agg ${ofSymbol} AND "window" >= ${atTime(micros)} AND "window" < ${atTime(to)}`;
  // no window has two beginnings, and times are whole microseconds
  if (after !== null) return begun(after + 1n);
  return `(SELECT "window", agg FROM (SELECT "window", agg ${ofSymbol} AND "window" < ${atTime(from)}
      ORDER BY "window" DESC LIMIT 1) b WHERE "window" @> ${timeLiteral(from)} AND ${timeLiteral(from)} < ${timeLiteral(to)})
    UNION ALL (${begun(from)})`;
}

/** The smallest window that begins at a time. */
function atTime(micros: Micros): string {
  return `tstzrange(${timeLiteral(micros)}, ${timeLiteral(micros)}, '[]')`;
}

function firstOf(key: string, direction: '' | ' DESC'): string {
  return `(array_agg(agg->>'${key}' ORDER BY "window"${direction}))[1]`;
}
