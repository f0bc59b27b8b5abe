import assert from 'node:assert/strict';
import { one, snapshot, touchedSince } from './harness/compare.ts';
import { mixedEvents, SERIES, type EventsSize } from './harness/events.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';
import { BARS_GROUP } from '../bus/bars.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

/**
 * Must show 4: bars that are made again change no row. The state of the group is thrown away, so that everything is read from
 * the beginning, late events and duplicates as well; then every event comes a second time.
 */
export function writesNothingTwice(
  context: ScenarioContext,
  bus: BusName,
  size: EventsSize,
): Promise<Figures> {
  return BarsHarness.with(bus, context, {}, async (harness) => {
    const events = mixedEvents(context.random.seed, size);
    const file = harness.events('events');
    const ticks = harness.ticks();
    const first = await harness.batcher('bars-1');
    await publishAll(harness.bus.bus, events, file);
    await harness.untilDone(SERIES, [first.program, ticks]);
    await harness.stop(first.program);
    const counts = await harness.equalsOracle(file);
    await snapshot(harness.client, 'before');

    await harness.bus.produced(harness.bus.program(['groups', '--drop', BARS_GROUP, '--yes']));
    const { left } = await one<{ left: number }>(
      harness.client,
      `SELECT (SELECT count(*) FROM bus_positions WHERE group_name = $1)::int
            + (SELECT count(*) FROM bars_watermarks WHERE group_name = $1)::int AS left`,
      [BARS_GROUP],
    );
    assert.equal(left, 0, 'the group was not forgotten, and nothing would be read again');
    const second = await harness.batcher('bars-1');
    await harness.untilDone(SERIES, [second.program, ticks]);
    const afterReset = await touchedSince(harness.client, 'before');
    context.say(`everything read again: ${afterReset} rows touched`);

    await publishAll(harness.bus.bus, events, harness.events('again'));
    await harness.untilDone(SERIES, [second.program, ticks]);
    const afterRepeat = await touchedSince(harness.client, 'before');
    await harness.stop(second.program, ticks);
    await harness.equalsOracle(file);
    assert.deepEqual({ afterReset, afterRepeat }, { afterReset: 0, afterRepeat: 0 }, 'rows touched');
    return {
      events: events.length,
      bars: counts.bars,
      'rows touched after a reset': afterReset,
      'after every event came again': afterRepeat,
    };
  });
}
