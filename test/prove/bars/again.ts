import assert from 'node:assert/strict';
import { one, snapshot, touchedSince } from './compare.ts';
import { mixedEvents, SERIES, type EventsSize } from './events.ts';
import { publishAll } from './publish.ts';
import { BARS_GROUP, BarsRig } from './harness.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, Scene } from '../harness.ts';

/**
 * Must show 4: bars that are made again change no row. The state of the group is thrown away, so that everything is read from
 * the beginning, late events and duplicates as well; then every event comes a second time.
 */
export function writesNothingTwice(scene: Scene, bus: BusName, size: EventsSize): Promise<Figures> {
  return BarsRig.with(bus, scene, {}, async (rig) => {
    const events = mixedEvents(scene.random.seed, size);
    const file = rig.events('events');
    const ticks = rig.ticks();
    const first = await rig.batcher('bars-1');
    await publishAll(rig.bus.bus, events, file);
    await rig.untilDone(SERIES, [first.program, ticks]);
    await rig.stop(first.program);
    const counts = await rig.equalsOracle(file);
    await snapshot(rig.client, 'before');

    await rig.bus.produced(rig.bus.program(['groups', '--drop', BARS_GROUP, '--yes']));
    const { left } = await one<{ left: number }>(
      rig.client,
      `SELECT (SELECT count(*) FROM bus_positions WHERE group_name = $1)::int
            + (SELECT count(*) FROM bars_watermarks WHERE group_name = $1)::int AS left`,
      [BARS_GROUP],
    );
    assert.equal(left, 0, 'the group was not forgotten, and nothing would be read again');
    const second = await rig.batcher('bars-1');
    await rig.untilDone(SERIES, [second.program, ticks]);
    const afterReset = await touchedSince(rig.client, 'before');
    scene.say(`everything read again: ${afterReset} rows touched`);

    await publishAll(rig.bus.bus, events, rig.events('again'));
    await rig.untilDone(SERIES, [second.program, ticks]);
    const afterRepeat = await touchedSince(rig.client, 'before');
    await rig.stop(second.program, ticks);
    await rig.equalsOracle(file);
    assert.deepEqual({ afterReset, afterRepeat }, { afterReset: 0, afterRepeat: 0 }, 'rows touched');
    return {
      events: events.length,
      bars: counts.bars,
      'rows touched after a reset': afterReset,
      'after every event came again': afterRepeat,
    };
  });
}
