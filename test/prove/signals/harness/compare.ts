import assert from 'node:assert/strict';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { StreamBus } from '../../../../src/bus/bus.ts';
import { metadataJson, type Signal } from '../../../../src/core/signal/signal.ts';
import { formatMicros } from '../../../../src/core/time.ts';

const KEY = 'provider, symbol, ts, name, replay_run_id';
const CONTENT = ['value', 'score', 'metadata'] as const;
const SHOWN = 5;
const READ = 5_000;

function contentOf(alias: string): string {
  return `ROW(${CONTENT.map((column) => `${alias}.${column}`).join(', ')})`;
}

async function load(client: Client, table: string, lines: Iterable<string>): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS ${table};
    CREATE UNLOGGED TABLE ${table} (provider text COLLATE "C", symbol text COLLATE "C", ts timestamptz, name text COLLATE "C",
      value float8, score float8, metadata jsonb, replay_run_id bigint)`);
  await pipeline(Readable.from(lines), client.query(copyFrom(`COPY ${table} FROM STDIN`)));
  await client.query(`ANALYZE ${table}`);
}

/** A table of that name with these signals. */
export async function loadSignals(client: Client, table: string, signals: readonly Signal[]): Promise<void> {
  const lines = signals.map((signal) => {
    const { provider, symbol, tsUs, name, value, score, runId } = signal;
    const fields = [
      provider,
      symbol,
      formatMicros(BigInt(tsUs)),
      name,
      value,
      score ?? '\\N',
      metadataJson(signal),
      runId,
    ];
    return `${fields.join('\t')}\n`;
  });
  await load(client, table, lines);
}

/**
 * Compares both ways, every column of the content. @param actual a table, or a query in parentheses
 * @throws AssertionError with the counts by name and the first rows that differ
 */
export async function compareSignals(client: Client, expected: string, actual: string): Promise<number> {
  const joined = `FROM ${expected} e FULL JOIN ${actual} a USING (${KEY})`;
  const { rows: counts } = await client.query<{
    rows: number;
    different: number;
    missing: number;
    extra: number;
  }>(
    `SELECT name, count(*)::int AS rows,
       count(*) FILTER (WHERE e.value IS NOT NULL AND a.value IS NOT NULL AND ${contentOf('e')} IS DISTINCT FROM ${contentOf('a')})::int AS different,
       count(*) FILTER (WHERE a.value IS NULL)::int AS missing, count(*) FILTER (WHERE e.value IS NULL)::int AS extra
     ${joined} GROUP BY name ORDER BY name`,
  );
  if (counts.some(({ different, missing, extra }) => different + missing + extra > 0)) {
    const { rows } = await client.query<{ line: string }>(
      `SELECT format(E'%s|%s|%s|%s\\n    expected %s\\n    got      %s', provider, symbol, ts, name, ${contentOf('e')}, ${contentOf('a')}) AS line
       ${joined} WHERE ${contentOf('e')} IS DISTINCT FROM ${contentOf('a')} ORDER BY ts, ${KEY} LIMIT ${SHOWN}`,
    );
    const lines = rows.map(({ line }) => line).join('\n');
    assert.fail(`signals differ\n${counts.map((row) => JSON.stringify(row)).join('\n')}\n${lines}`);
  }
  assert.notEqual(counts.length, 0, 'there are no signals to compare');
  return counts.reduce((sum, { rows }) => sum + rows, 0);
}

/** Every signal of the table is on the topic at least once, each time as it is in the table. Returns how often any is there. */
export async function assertPublished(
  client: Client,
  bus: StreamBus,
  topic = 'mdp.signals',
): Promise<number> {
  const lines: string[] = [];
  for (let partition = 0; partition < bus.partitions(topic); partition += 1) {
    for (let after: string | null = null; ;) {
      const page = await bus.read(topic, partition, after, READ);
      if (page.length === 0) break;
      for (const { data, eventId } of page) lines.push(published(data, eventId));
      after = page[page.length - 1].position;
    }
  }
  await load(client, 'published', lines);
  const { rows } = await client.query<{ missing: number; wrong: number }>(
    `SELECT count(*) FILTER (WHERE p.value IS NULL)::int AS missing,
       count(*) FILTER (WHERE p.value IS NOT NULL AND ${contentOf('p')} IS DISTINCT FROM ${contentOf('s')})::int AS wrong
     FROM signals s FULL JOIN published p USING (${KEY})`,
  );
  assert.deepEqual(rows[0], { missing: 0, wrong: 0 }, 'mdp.signals is not the table');
  return lines.length;
}

function published(data: Uint8Array | null, eventId: string | null): string {
  const signal = JSON.parse(Buffer.from(data ?? []).toString()) as {
    provider: string;
    symbol: string;
    ts: string;
    name: string;
    value: number;
    score: number | null;
    meta: { replay_run_id?: number };
    event_id: string;
  };
  const { provider, symbol, ts, name, value, score, meta, event_id: id } = signal;
  if (eventId !== null) assert.equal(eventId, id);
  const run = meta.replay_run_id ?? 0;
  assert.equal(id, [provider, symbol, ts, name, ...(run === 0 ? [] : [run])].join('|'));
  return `${[provider, symbol, ts, name, value, score ?? '\\N', JSON.stringify(meta), run].join('\t')}\n`;
}

/**
 * vwap_deviation_bps and spread_bps of a run against what SQL makes of tick_data, without the ticks that were late for the group.
 * @param range of what SQL makes: from the first signal on, or only where there are signals
 * @returns how many values agree
 */
export async function assertRecomputed(
  client: Client,
  runId: bigint,
  range: 'from the first on' | 'only what there is' = 'from the first on',
): Promise<number> {
  const isOnly = range === 'only what there is';
  const { rows } = await client.query<{ compared: number; wrong: number; example: string | null }>(
    RECOMPUTED,
    [`${runId}`, isOnly],
  );
  const [{ compared, wrong, example }] = rows;
  assert.equal(wrong, 0, `${wrong} of ${compared} are not what SQL says: ${example}`);
  assert.ok(compared > 0);
  return compared;
}

const RECOMPUTED = `
WITH seen AS (
  SELECT * FROM tick_data d WHERE NOT EXISTS (SELECT FROM features_late l WHERE l.group_name = 'signal-consumer'
    AND (l.provider, l.symbol, l.ts, l.seq) = (d.provider, d.symbol, d.ts, d.seq))),
summed AS (
  SELECT provider, symbol, ts, seq, price, bid, ask, sum(size) OVER day AS volume, sum(price * size) OVER day AS pv
    FROM seen WINDOW day AS (PARTITION BY provider, symbol, date_trunc('day', ts AT TIME ZONE 'UTC') ORDER BY ts, seq)),
lasts AS (
  SELECT DISTINCT ON (provider, symbol, ts) *, (price - pv / volume) / (pv / volume) * 1e4 AS deviation
    FROM summed WHERE volume > 0 ORDER BY provider, symbol, ts, seq DESC),
quotes AS (
  SELECT DISTINCT ON (provider, symbol, ts) *, (ask - bid) / ((bid + ask) / 2) * 1e4 AS spread
    FROM summed WHERE bid IS NOT NULL AND ask IS NOT NULL ORDER BY provider, symbol, ts, seq DESC),
expected AS (
  SELECT provider, symbol, ts, 'vwap_deviation_bps' AS name, deviation AS value FROM lasts
  UNION ALL SELECT provider, symbol, ts, 'spread_bps', spread FROM quotes),
actual AS (
  SELECT provider, symbol, ts, name, value FROM signals
    WHERE replay_run_id = $1 AND name IN ('vwap_deviation_bps', 'spread_bps')),
compared AS (
  SELECT *, a.value IS NOT NULL AND e.value IS NOT NULL AND abs(a.value - e.value) <= 1e-6 * greatest(1, abs(e.value)) AS is_equal
    FROM actual a FULL JOIN expected e USING (provider, symbol, ts, name)
    WHERE a.value IS NOT NULL OR NOT $2 AND ts >= (SELECT min(ts) FROM actual))
SELECT count(*)::int AS compared, count(*) FILTER (WHERE NOT is_equal)::int AS wrong,
  min(c::text) FILTER (WHERE NOT is_equal) AS example FROM compared c`;
