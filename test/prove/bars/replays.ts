import assert from 'node:assert/strict';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { formatMicros } from '../../../src/core/time.ts';
import { compareBars, one, snapshot, touchedSince } from './harness/compare.ts';
import { acrossMidnight, mixedEvents, SERIES, type EventsSize } from './harness/events.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness, WINDOW_MS } from './harness/harness.ts';
import { edgesOf, expectRepaired, HOLDS, damageBars } from './lost-log.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

const WINDOW_MICROS = BigInt(WINDOW_MS) * 1000n;

/** Half-open; each end in the middle of a window. */
export interface Range {
  start: bigint;
  end: bigint;
}

/** A share of the time of the events, from the middle of a window to the middle of another one. */
function middle(size: EventsSize, from: number, to: number): Range {
  const first = acrossMidnight(size);
  const micros = (size.events / size.perSecond) * 1e6;
  const at = (share: number): bigint => {
    const near = first + BigInt(Math.round(micros * share));
    return near - (near % WINDOW_MICROS) + WINDOW_MICROS / 3n;
  };
  return { start: at(from), end: at(to) };
}

/** What a replay of the range publishes: each event once, in its order. */
function replayed(events: readonly TickEvent[], { start, end }: Range, runId: bigint): TickEvent[] {
  const distinct = new Map(events.map((event) => [event.eventId, event]));
  return [...distinct.values()]
    .filter(({ srcTs }) => srcTs >= start && srcTs < end)
    .sort((a, b) => Number(a.srcTs - b.srcTs) || (a.seq < b.seq ? -1 : 1))
    .map((event) => ({ ...event, origin: 'replay', replayRunId: runId }));
}

async function startRun(harness: BarsHarness, range: Range, repair: boolean): Promise<bigint> {
  const metadata = {
    start: formatMicros(range.start),
    end: formatMicros(range.end),
    ...(repair ? { repair: true } : {}),
  };
  const { id } = await one<{ id: string }>(
    harness.client,
    `INSERT INTO job_runs (job_name, status, metadata) VALUES ('tick_replay', 'running', $1) RETURNING id`,
    [JSON.stringify(metadata)],
  );
  return BigInt(id);
}

/**
 * Must show 4: a replay that begins in the middle of a window changes no live bar, and has the bars of its own events, of which
 * those of its first window are not the live ones.
 */
export function keepsReplaysApart(
  context: ScenarioContext,
  bus: BusName,
  size: EventsSize,
): Promise<Figures> {
  return BarsHarness.with(bus, context, { idleTimeout: '3s' }, async (harness) => {
    const events = mixedEvents(context.random.seed, size);
    const [file, replay] = [harness.events('events'), harness.events('replay')];
    const ticks = harness.ticks();
    const batcher = await harness.batcher('bars-1');
    await publishAll(harness.bus.bus, events, file);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    const counts = await harness.equalsOracle(file);
    await snapshot(harness.client, 'before');
    const range = middle(size, 0.4, 0.9);
    const runId = await startRun(harness, range, false);
    const again = replayed(events, range, runId);
    await publishAll(harness.bus.bus, again, replay);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    await harness.stop(batcher.program, ticks);
    assert.equal(await touchedSince(harness.client, 'before'), 0, 'live bars touched by a replay');
    await harness.oracle('replay_bars', [replay]);
    const bars = await compareBars(
      harness.client,
      'replay_bars',
      `(SELECT * FROM bars_replay WHERE replay_run_id = ${runId})`,
    );
    return {
      events: events.length,
      'live bars': counts.bars,
      'of them touched': 0,
      'events replayed': again.length,
      'bars of the replay equal': bars,
    };
  });
}

/**
 * Must show 4: a replay with `repair: true` mends live bars that are gone or have fewer ticks, where its range holds their
 * whole windows, and what is made of them; others that differ, or that its range cuts, stay as they are.
 */
export function repairsBars(context: ScenarioContext, bus: BusName, size: EventsSize): Promise<Figures> {
  return BarsHarness.with(bus, context, { idleTimeout: '3s' }, async (harness) => {
    const events = mixedEvents(context.random.seed, size);
    const [file, rest, replay] = [harness.events('events'), harness.events('rest'), harness.events('replay')];
    const ticks = harness.ticks();
    const batcher = await harness.batcher('bars-1');
    await publishAll(harness.bus.bus, events, file);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    const counts = await harness.equalsOracle(file);

    const range = middle(size, 0.3, 0.7);
    const edges = edgesOf(range, WINDOW_MICROS);
    await rest.add(events.filter((event) => !edges.cut(event)));
    await harness.oracle('rest_bars', [rest]);
    const damage = await damageBars(harness.client, range);
    await expectRepaired(harness.client);
    await snapshot(harness.client, 'before');
    const runId = await startRun(harness, range, true);
    await publishAll(harness.bus.bus, replayed(events, range, runId), replay);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    await harness.stop(batcher.program, ticks);
    await compareBars(harness.client, 'repaired_bars', 'bars_ohlcv');
    const { strayed } = await one<{ strayed: number }>(harness.client, STRAYED);
    assert.equal(strayed, 0, 'rows touched that needed no repair');
    return { events: events.length, bars: counts.bars, ...damage };
  });
}

/** Rows that were touched and neither were damaged nor hold a damaged one. */
const STRAYED = `SELECT count(*)::int AS strayed FROM (
    SELECT provider, symbol, "interval", ts FROM before b FULL JOIN bars_ohlcv a USING (provider, symbol, "interval", ts)
      WHERE ROW(b.*) IS DISTINCT FROM ROW(a.*)) b
  WHERE NOT EXISTS (SELECT FROM damaged d WHERE ${HOLDS})`;
