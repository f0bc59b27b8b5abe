import assert from 'node:assert/strict';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { formatMicros } from '../../../src/core/time.ts';
import type { Program } from '../../support/run/program.ts';
import { compareSignals } from './harness/compare.ts';
import type { Script } from './harness/events.ts';
import { WINDOW_MS } from './harness/expected.ts';
import { EDGE_RULES, type SignalsHarness } from './harness/harness.ts';
import { publishAll } from './harness/publish.ts';

const RUN = 7n;
const WINDOW_MICROS = BigInt(WINDOW_MS) * 1000n;

/** What a replay publishes: each tick that is stored once, in order. */
function replayed(events: readonly TickEvent[], start: bigint): TickEvent[] {
  const distinct = new Map(events.map((event) => [event.eventId, event]));
  return [...distinct.values()]
    .filter(({ srcTs }) => srcTs >= start)
    .sort((a, b) => Number(a.srcTs - b.srcTs) || (a.seq < b.seq ? -1 : 1))
    .map((event) => ({ ...event, origin: 'replay', replayRunId: RUN }));
}

/**
 * In a burst, from the middle of a window in the middle of the events: as the live signals from there on, which stay as they are.
 * The
 * window that it begins in is not compared, nor, where a rule's mode is edge, a symbol's first one, before which it knows of none.
 */
export async function replaysTheSame(
  harness: SignalsHarness,
  programs: readonly Program[],
  { events }: Script,
): Promise<number> {
  const { client } = harness;
  const middle = events[Math.floor(events.length * 0.4)].srcTs;
  const start = middle - (middle % WINDOW_MICROS) + WINDOW_MICROS / 3n;
  const from = formatMicros(start);
  await client.query('DROP TABLE IF EXISTS live; CREATE TABLE live AS TABLE signals');
  const windows = formatMicros(middle - (middle % WINDOW_MICROS) + WINDOW_MICROS);
  const edges = `SELECT name FROM unnest(ARRAY['${EDGE_RULES.join("', '")}']) AS name`;
  const first = `SELECT min(f.ts) FROM live f WHERE f.provider = s.provider AND f.symbol = s.symbol AND f.name = 'every_window'
    AND f.ts > '${windows}'`;
  const ofTicks = "metadata->>'window' <> '2s'";
  const compared = `(CASE WHEN ${ofTicks} THEN ts >= '${from}' WHEN name NOT IN (${edges}) THEN ts > '${windows}' ELSE ts > (${first}) END)`;
  const ofRun = `(SELECT provider, symbol, ts, name, value, score, metadata || '{"replay_run_id": ${RUN}}' AS metadata,
    ${RUN}::bigint AS replay_run_id FROM live s WHERE ${compared})`;
  const { rows } = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${ofRun} s`);
  await publishAll(harness.bus.bus, replayed(events, start));
  await harness.untilSignals(rows[0].n, `replay_run_id = ${RUN} AND ${compared}`, programs);
  const equal = await compareSignals(
    client,
    ofRun,
    `(SELECT * FROM signals s WHERE replay_run_id = ${RUN} AND ${compared})`,
  );
  const { rows: touched } = await client.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM live l FULL JOIN (SELECT * FROM signals WHERE replay_run_id = 0) s
       USING (provider, symbol, ts, name, replay_run_id) WHERE ROW(l.*) IS DISTINCT FROM ROW(s.*)`,
  );
  assert.equal(touched[0].n, 0, 'live signals touched by a replay');
  return equal;
}
