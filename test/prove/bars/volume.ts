import assert from 'node:assert/strict';
import { acrossMidnight, arrivals, MIXED, SERIES, type Arrival, type EventsSize } from './harness/events.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';
import type { BusName } from '../bus/harness.ts';
import { mebibytes, seconds, type Figures, type ScenarioContext } from '../harness.ts';

/**
 * Must show 1: events of 10 symbols, half of them of one, shuffled within the lateness and beyond it, 2 % sent twice and a
 * few again with another content. The bars of 2 s, 1 m, 5 m, 1 h and 1 d are those of the oracle, bit for bit.
 */
export function makesExactBars(context: ScenarioContext, bus: BusName, size: EventsSize): Promise<Figures> {
  return BarsHarness.with(bus, context, {}, async (harness) => {
    const { events, perSecond } = size;
    const startMicros = acrossMidnight(size);
    const options = { ...MIXED, seed: `${context.random.seed}`, count: events, startMicros, perSecond };
    const batcher = await harness.batcher('bars-1');
    const ticks = harness.ticks();
    const file = harness.events('events');
    const seen = { conflicts: 0 };
    const beganMs = performance.now();
    await publishAll(harness.bus.bus, counting({ ...options, conflictsPer100k: 100 }, seen), file);
    context.say(`${file.count} events on the bus after ${seconds(performance.now() - beganMs)}`);
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    const tookMs = performance.now() - beganMs;
    const { conflicts } = seen;
    const [revisions, peak] = [
      (await batcher.metrics()).sum('microbatch_revisions_total'),
      batcher.program.peakBytes(),
    ];
    await harness.stop(batcher.program, ticks);
    const counts = await harness.equalsOracle(file);
    assert.equal(counts.distinct, events);
    const reasons = [...(await harness.bus.deadLetters()).values()].map(({ reason }) => reason);
    assert.deepEqual(
      reasons.filter((reason) => reason !== 'conflict'),
      [],
    );
    assert.equal(reasons.length, conflicts, 'dead letters `conflict`');
    return {
      events: file.count,
      distinct: counts.distinct,
      conflicts,
      'bars equal': counts.bars,
      revisions,
      'from the first event on the bus to the last bar': seconds(tookMs),
      'memory of the micro-batcher': mebibytes(peak),
    };
  });
}

function* counting(
  options: Parameters<typeof arrivals>[0],
  seen: { conflicts: number },
): Generator<Arrival['event']> {
  for (const { event, isConflict } of arrivals(options)) {
    if (isConflict) seen.conflicts += 1;
    yield event;
  }
}
