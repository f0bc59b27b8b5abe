import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { eventRecord } from '../../../src/bus/publisher.ts';
import { Random } from '../../../src/core/market/synthetic/random.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { compareBars, contentOf, KEY, one, sameKey, snapshot, touchedSince } from './harness/compare.ts';
import { mixedEvents, SERIES, tick, type EventsSize } from './harness/events.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness, WINDOW_MS } from './harness/harness.ts';
import { BARS_GROUP } from '../bus/bars.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

/** First come the events; all windows are closed then. */
export interface LateSize extends EventsSize {
  late: number;
}

const WINDOW_MICROS = BigInt(WINDOW_MS) * 1000n;
const HOUR_MICROS = 3_600_000_000n;
/** seq of events that none of the first ones can have */
const FRESH_SEQ = 2n ** 61n;
const REFUSED_SEQ = 2n ** 62n;
/** of each reason, events that must become dead letters */
const REFUSED = 5;

/**
 * Events of windows that are closed: a quarter are duplicates, a tenth lie in windows of the minute before the first, where
 * no bar is, the others are new ones of windows that have a bar.
 */
export function lateEvents(
  context: ScenarioContext,
  first: readonly TickEvent[],
  count: number,
): TickEvent[] {
  const random = new Random(`${context.random.seed}/late`);
  const startMicros = first.reduce((least, { srcTs }) => (srcTs < least ? srcTs : least), first[0].srcTs);
  return Array.from({ length: count }, (_, at) => {
    const event = first[random.below(first.length)];
    if (at % 4 === 0) return event;
    const isBefore = at % 10 === 1;
    const window = event.srcTs - (event.srcTs % WINDOW_MICROS);
    const srcTs = isBefore
      ? startMicros - WINDOW_MICROS - BigInt(random.below(60_000_000))
      : window + BigInt(random.below(Number(WINDOW_MICROS)));
    const price = event.price * (1 + 0.1 * random.normal());
    const seq = FRESH_SEQ + BigInt(at);
    return tick({ ...event, srcTs, seq, price, size: random.unit() });
  });
}

/**
 * Must show 3, policy revise: late events after the close, read while the tick consumer stands still, so that each window is
 * recomputed once. As many base bars are revised or made as have another content by the oracle, and no other row is touched;
 * each version that was replaced is in the history; rollups follow.
 */
export function revisesLateWindows(context: ScenarioContext, bus: BusName, size: LateSize): Promise<Figures> {
  return BarsHarness.with(bus, context, {}, async (harness) => {
    const first = mixedEvents(context.random.seed, size);
    const [firstFile, lateFile] = [harness.events('first'), harness.events('late')];
    let ticks = harness.ticks();
    const batcher = await harness.batcher('bars-1');
    await publishAll(harness.bus.bus, first, firstFile);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    await harness.stop(ticks);
    await harness.oracle('before_bars', [firstFile]);
    await compareBars(harness.client, 'before_bars', 'bars_ohlcv');
    await snapshot(harness.client, 'before');
    const revisionsBefore = (await batcher.metrics()).sum('microbatch_revisions_total');

    await publishAll(harness.bus.bus, lateEvents(context, first, size.late), lateFile);
    await harness.bus.bus.publish(
      TOPIC,
      refusedEvents(first).map((event) => eventRecord(event, 'json')),
    );
    await harness.untilRead(BARS_GROUP, [batcher.program]);
    const { marks } = await one<{ marks: number }>(
      harness.client,
      'SELECT count(*)::int AS marks FROM bars_late_windows',
    );
    context.say(`${size.late} late events are read, ${marks} windows marked`);
    assert.equal(await touchedSince(harness.client, 'before'), 0, 'bars revised before their ticks came');
    ticks = harness.ticks();
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    const revisionsCounted = (await batcher.metrics()).sum('microbatch_revisions_total') - revisionsBefore;
    await harness.stop(batcher.program, ticks);

    const counts = await harness.equalsOracle(firstFile, lateFile);
    const figures = await checkRevisions(harness.client);
    await checkRefused(harness);
    return {
      events: first.length,
      'late events': size.late,
      'windows marked': marks,
      ...figures,
      'bars equal': counts.bars,
      microbatch_revisions_total: revisionsCounted,
    };
  });
}

const BASE = `"interval" = '${WINDOW_MS / 1000}s'`;

/** expected_bars: the oracle's after; before_bars: before; before, before_history: the tables as they were. */
async function checkRevisions(client: Client): Promise<Figures> {
  const changed = await one<{ revised: number; made: number }>(
    client,
    `SELECT count(*) FILTER (WHERE b.open IS NOT NULL)::int AS revised,
            count(*) FILTER (WHERE b.open IS NULL)::int AS made
       FROM expected_bars e LEFT JOIN before_bars b USING (${KEY})
      WHERE ${BASE} AND ${contentOf('e')} IS DISTINCT FROM ${contentOf('b')}`,
  );
  const done = await one<{ revisions: number; made: number; touched: number; history: number }>(
    client,
    `SELECT coalesce(sum(a.revision - b.revision), 0)::int AS revisions,
            count(*) FILTER (WHERE b.open IS NULL)::int AS made,
            count(*) FILTER (WHERE b.open IS NOT NULL AND ROW(a.*) IS DISTINCT FROM ROW(b.*))::int AS touched,
            (SELECT count(*) FROM bars_history WHERE ${BASE})::int
              - (SELECT count(*) FROM before_history WHERE ${BASE})::int AS history
       FROM bars_ohlcv a LEFT JOIN before b USING (${KEY}) WHERE ${BASE}`,
  );
  assert.deepEqual(done, {
    revisions: changed.revised,
    made: changed.made,
    touched: changed.revised,
    history: changed.revised,
  });
  // what a revision replaced is what was there
  const { wrong } = await one<{ wrong: number }>(
    client,
    `SELECT count(*)::int AS wrong FROM bars_ohlcv a JOIN before b ON ${sameKey('a', 'b')}
       LEFT JOIN bars_history h ON ${sameKey('a', 'h')} AND h.revision = b.revision
      WHERE a.${BASE} AND a.revision > b.revision AND ${contentOf('h')} IS DISTINCT FROM ${contentOf('b')}`,
  );
  assert.equal(wrong, 0, 'versions in bars_history that differ from what was there');
  const { gaps } = await one<{ gaps: number }>(
    client,
    `SELECT count(*)::int AS gaps FROM bars_ohlcv a
      WHERE a.revision <> (SELECT count(*) FROM bars_history h WHERE ${sameKey('h', 'a')})`,
  );
  assert.equal(gaps, 0, 'bars whose revision is not the number of their versions in bars_history');
  return { 'bars revised': done.revisions, 'bars made late': done.made };
}

/** Behind the horizon of a symbol's watermark, and far ahead of the time when they were taken. */
function refusedEvents(first: readonly TickEvent[]): TickEvent[] {
  const newest = first.reduce((most, { srcTs }) => (srcTs > most ? srcTs : most), first[0].srcTs);
  const make = (srcTs: bigint, at: number): TickEvent =>
    tick({ ...first[0], srcTs, seq: REFUSED_SEQ + BigInt(at), price: 1, size: 1 });
  return Array.from({ length: REFUSED }, (_, at) => [
    make(newest - 26n * HOUR_MICROS, at),
    { ...make(newest, REFUSED + at), ingestTs: newest - 61_000_000n },
  ]).flat();
}

async function checkRefused(harness: BarsHarness): Promise<void> {
  const reasons = [...(await harness.bus.deadLetters()).values()].map(({ reason }) => String(reason));
  const expected = ['future', 'too_late'].flatMap((reason) => Array.from({ length: REFUSED }, () => reason));
  assert.deepEqual(reasons.sort(), expected, 'dead letters');
}
