import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

/** What tells a bar from the others. */
export const KEY = 'provider, symbol, "interval", ts';
/** Of a bar, all that is a function of the events: revision, created_at, updated_at, tx and the parts of sums are not. */
const CONTENT = [
  'open',
  'high',
  'low',
  'close',
  'volume',
  'vwap',
  'tick_count',
  'first_ts',
  'last_ts',
  'is_final',
] as const;
const SHOWN = 5;

/** Content as one value, to be compared with IS DISTINCT FROM: doubles by their bits but the sign of zero. */
export function contentOf(alias: string): string {
  return `ROW(${CONTENT.map((column) => `${alias}.${column}`).join(', ')})`;
}

/** Two rows of one window, where USING would leave columns ambiguous. */
export function sameKey(one: string, other: string): string {
  return KEY.split(', ')
    .map((column) => `${one}.${column} = ${other}.${column}`)
    .join(' AND ');
}

/** The CSV of the oracle as a table. */
export async function loadBars(client: Client, table: string, path: string): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS ${table};
    CREATE UNLOGGED TABLE ${table} (provider text COLLATE "C", symbol text COLLATE "C", "interval" text COLLATE "C",
      ts timestamptz, open float8, high float8, low float8, close float8, volume float8, vwap float8, tick_count bigint,
      first_ts timestamptz, last_ts timestamptz, is_final boolean, PRIMARY KEY (${KEY}))`);
  await pipeline(createReadStream(path), client.query(copyFrom(`COPY ${table} FROM STDIN (FORMAT csv)`)));
  await client.query(`ANALYZE ${table}`);
}

interface Counts {
  interval: string;
  rows: number;
  different: number;
  missing: number;
  extra: number;
}

/**
 * Compares both ways, every column of the content. @param actual a table, or a query in parentheses
 * @throws AssertionError with the counts by interval and the first rows that differ
 */
export async function compareBars(client: Client, expected: string, actual: string): Promise<number> {
  const joined = `FROM ${expected} e FULL JOIN ${actual} a USING (${KEY})`;
  const { rows: counts } = await client.query<Counts>(
    `SELECT "interval", count(*)::int AS rows,
       count(*) FILTER (WHERE e.open IS NOT NULL AND a.open IS NOT NULL
         AND ${contentOf('e')} IS DISTINCT FROM ${contentOf('a')})::int AS different,
       count(*) FILTER (WHERE a.open IS NULL)::int AS missing,
       count(*) FILTER (WHERE e.open IS NULL)::int AS extra
     ${joined} GROUP BY "interval" ORDER BY "interval"`,
  );
  const isEqual = counts.every(({ different, missing, extra }) => different + missing + extra === 0);
  if (!isEqual) {
    const { rows } = await client.query<{ line: string }>(
      `SELECT format(E'%s|%s|%s|%s\\n    expected %s\\n    got      %s', provider, symbol, "interval", ts,
         ${contentOf('e')}, ${contentOf('a')}) AS line
       ${joined} WHERE ${contentOf('e')} IS DISTINCT FROM ${contentOf('a')} ORDER BY ${KEY} LIMIT ${SHOWN}`,
    );
    const lines = rows.map(({ line }) => line).join('\n');
    assert.fail(
      `bars differ from the oracle\n${counts.map((row) => JSON.stringify(row)).join('\n')}\n${lines}`,
    );
  }
  assert.notEqual(counts.length, 0, 'there are no bars to compare');
  return counts.reduce((sum, { rows }) => sum + rows, 0);
}

/** Live bars and their history as they are now, in tables of that name and `${name}_history`. */
export async function snapshot(client: Client, name: string): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS ${name}, ${name}_history;
    CREATE UNLOGGED TABLE ${name} AS TABLE bars_ohlcv; ALTER TABLE ${name} ADD PRIMARY KEY (${KEY});
    CREATE UNLOGGED TABLE ${name}_history AS TABLE bars_history;
    ANALYZE ${name}, ${name}_history`);
}

/** How many rows of bars_ohlcv were made, removed, or written again since, even with equal content. */
export async function touchedSince(client: Client, name: string): Promise<number> {
  const { rows } = await client.query<{ touched: number }>(
    `SELECT count(*)::int AS touched FROM ${name} b FULL JOIN bars_ohlcv a USING (${KEY})
      WHERE ROW(b.*) IS DISTINCT FROM ROW(a.*)`,
  );
  assert.ok(rows[0] !== undefined);
  return rows[0].touched;
}

export async function one<T extends Record<string, unknown>>(
  client: Client,
  text: string,
  values: unknown[] = [],
): Promise<T> {
  const { rows } = await client.query<T>(text, values);
  const [row] = rows;
  assert.ok(row !== undefined, `no row: ${text}`);
  return row;
}
