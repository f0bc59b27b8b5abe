import assert from 'node:assert/strict';
import type { Client } from 'pg';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { formatMicros } from '../../../src/core/time.ts';
import { one, sameKey } from './harness/compare.ts';
import type { Range } from './replays.ts';
import { WINDOW_MS } from './harness/harness.ts';
import type { Figures } from '../harness.ts';

/** Of these symbols bars are deleted; those of the others are made poorer. */
const DELETED = ['MSFT', 'NVDA', 'AMZN', 'GOOG'];
const INTERVAL = `${WINDOW_MS / 1000}s`;

/** The windows that the range cuts: there bars of the symbols above are deleted too, and must stay away. */
export function edgesOf({ start, end }: Range, windowMicros: bigint): { cut(event: TickEvent): boolean } {
  const cuts = [start, end].map((micros) => micros / windowMicros);
  return {
    cut: ({ symbol, srcTs }) => DELETED.includes(symbol) && cuts.includes(srcTs / windowMicros),
  };
}

/**
 * Damages bars in and around a range, and notes in the table `damaged` those that a repair must mend:
 * - deleted: of each minute the first and every fifth base bar, the coarser bars that held them, and base bars that an end of
 *   the range cuts (which are not noted);
 * - made poorer (of the other symbols): of each minute the first and every fifth base bar with two ticks and more, and the
 *   coarser bars that hold them, each by one tick;
 * - scribbled on (of the other symbols): of each minute the third base bar gets another open. Its ticks are as many as
 *   before, so it stays; no coarser bar begins with it, so none shows it.
 */
export async function damageBars(client: Client, range: Range): Promise<Figures> {
  const bounds = [formatMicros(range.start), formatMicros(range.end)];
  await client.query(`DROP TABLE IF EXISTS damaged, scribbled;
    CREATE TABLE scribbled AS SELECT provider, symbol, "interval", ts FROM bars_ohlcv WITH NO DATA;
    CREATE TABLE damaged AS TABLE scribbled; ALTER TABLE damaged ADD deleted boolean`);
  await client.query(
    `INSERT INTO damaged SELECT provider, symbol, "interval", ts, symbol = ANY ($3) FROM (${NUMBERED}) n
      WHERE nth % 5 = 1 AND (symbol = ANY ($3) OR tick_count > 1)`,
    [...bounds, DELETED],
  );
  await client.query(
    `INSERT INTO scribbled SELECT provider, symbol, "interval", ts FROM (${NUMBERED}) n
      WHERE nth = 3 AND NOT symbol = ANY ($3) AND open <> high`,
    [...bounds, DELETED],
  );
  const deleted = await client.query(`DELETE FROM bars_ohlcv b USING damaged d WHERE d.deleted AND ${HOLDS}`);
  const poorer = await client.query(
    `UPDATE bars_ohlcv b SET tick_count = tick_count - 1, high = greatest(open, close), low = least(open, close),
       volume = 0, vwap = null, volume_parts = null, pv_parts = null
      FROM (SELECT DISTINCT ON (${ID}) ${ID} FROM bars_ohlcv b JOIN damaged d ON NOT d.deleted AND ${HOLDS}) hurt
      WHERE ${sameKey('hurt', 'b')}`,
  );
  const cut = await client.query(
    `DELETE FROM bars_ohlcv WHERE "interval" = '${INTERVAL}' AND symbol = ANY ($3)
       AND ((ts < $1 AND $1 < ts + '${INTERVAL}') OR (ts < $2 AND $2 < ts + '${INTERVAL}'))`,
    [...bounds, DELETED],
  );
  const scribbled = await client.query(
    `UPDATE bars_ohlcv b SET open = high FROM scribbled s WHERE ${sameKey('s', 'b')}`,
  );
  const figures = {
    'bars deleted': deleted.rowCount ?? 0,
    'made poorer': poorer.rowCount ?? 0,
    'to stay scribbled on': scribbled.rowCount ?? 0,
    'to stay away': cut.rowCount ?? 0,
  };
  for (const [what, count] of Object.entries(figures)) assert.ok(count > 0, `${what}: none`);
  return figures;
}

/** Base bars of whole windows in [$1, $2), numbered within their minute. */
const NUMBERED = `SELECT provider, symbol, "interval", ts, tick_count, open, high,
    row_number() OVER (PARTITION BY provider, symbol, date_trunc('minute', ts) ORDER BY ts) AS nth
  FROM bars_ohlcv
  WHERE "interval" = '${INTERVAL}' AND ts >= $1 AND ts + '${INTERVAL}' <= $2`;
const ID = 'b.provider, b.symbol, b."interval", b.ts';
/** b is a damaged bar d, or a coarser one that holds it. */
export const HOLDS = `b.provider = d.provider AND b.symbol = d.symbol AND b.ts <= d.ts AND d.ts < b.ts + b."interval"::interval`;

/**
 * Table repaired_bars of expected_bars (the oracle's of all events) and rest_bars (of those without the windows that are cut):
 * coarser bars that are mended are made of the base bars that are there.
 */
export async function expectRepaired(client: Client): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS repaired_bars;
    CREATE TABLE repaired_bars AS
      SELECT b.* FROM rest_bars b WHERE b."interval" = '${INTERVAL}' OR EXISTS (SELECT FROM damaged d WHERE ${HOLDS})
      UNION ALL
      SELECT b.* FROM expected_bars b
        WHERE b."interval" <> '${INTERVAL}' AND NOT EXISTS (SELECT FROM damaged d WHERE ${HOLDS});
    UPDATE repaired_bars b SET open = high FROM scribbled s WHERE ${sameKey('s', 'b')}`);
  const { hidden } = await one<{ hidden: number }>(
    client,
    `SELECT count(*)::int AS hidden FROM expected_bars e JOIN rest_bars r ON ${sameKey('e', 'r')}
      WHERE e.tick_count <> r.tick_count`,
  );
  assert.ok(hidden > 0, 'no coarser bar shows that windows are cut');
}
