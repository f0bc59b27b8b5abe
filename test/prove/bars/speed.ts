import assert from 'node:assert/strict';
import { until } from '../../support/until.ts';
import { compareBars } from './harness/compare.ts';
import { acrossMidnight, arrivals, eventsOf, MIXED, SERIES, type EventsSize } from './harness/events.ts';
import { Marks } from './harness/marks.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';
import { BARS_GROUP } from '../bus/bars.ts';
import type { BusName } from '../bus/harness.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';

/** The events are on the bus before the micro-batcher starts. */
export interface BarsSpeedSize extends EventsSize {
  /** of one member, by the clock; null where other tests share the machine: then it is a figure and no condition */
  eventsPerSecondMin: number | null;
}

const POLL_MS = 50;

/**
 * Must show 5: one member of the micro-batcher and a backlog, in one partition. Its speed is that from just before the first
 * position it commits to the last: the start of a program is not its speed.
 */
export function isFastEnough(context: ScenarioContext, bus: BusName, size: BarsSpeedSize): Promise<Figures> {
  return BarsHarness.with(bus, context, {}, async (harness) => {
    const { events, perSecond, eventsPerSecondMin } = size;
    const startMicros = acrossMidnight(size);
    const options = {
      ...MIXED,
      latePerMille: 0,
      seed: `${context.random.seed}`,
      count: events,
      startMicros,
      perSecond,
    };
    const file = harness.events('events');
    const marks = new Marks(harness.bus.bus);
    await publishAll(harness.bus.bus, eventsOf(arrivals(options)), file, { onBatch: marks.add });
    const batcher = await harness.batcher('bars-1');
    // the last look that found nothing done yet
    let beganMs = performance.now();
    let done = 0;
    const endMs = await until(
      'the backlog is read',
      async () => {
        assert.equal(batcher.program.end, null, batcher.program.tail);
        const lookedMs = performance.now();
        const { rows } = await harness.client.query<{ position: string }>(
          'SELECT "position" FROM bus_positions WHERE group_name = $1',
          [BARS_GROUP],
        );
        done = marks.upTo(rows[0]?.position ?? null);
        if (done === 0) beganMs = lookedMs;
        return done === marks.total ? performance.now() : null;
      },
      { pollMs: POLL_MS, progress: () => done, context: () => batcher.program.tail },
    );
    const rate = Math.round(marks.total / ((endMs - beganMs) / 1000));
    const peak = batcher.program.peakBytes();
    context.say(`${rate} events/s`);
    await harness.untilDone(SERIES, [batcher.program]);
    await harness.stop(batcher.program);
    const counts = await harness.oracle('expected_bars', [file]);
    await compareBars(harness.client, 'expected_bars', 'bars_ohlcv');
    if (eventsPerSecondMin !== null)
      assert.ok(rate >= eventsPerSecondMin, `${rate} events/s, asked are ${eventsPerSecondMin}`);
    return {
      backlog: marks.total,
      'one member': `${rate} events/s`,
      'memory at most': mebibytes(peak),
      'bars equal': counts.bars,
    };
  });
}
