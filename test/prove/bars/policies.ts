import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { compareBars, one } from './harness/compare.ts';
import { mixedEvents, SERIES } from './harness/events.ts';
import { lateEvents, type LateSize } from './late.ts';
import { publishAll } from './harness/publish.ts';
import { BarsHarness } from './harness/harness.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

/**
 * Must show 3, the policies drop and dlq: late is who lay in a closed window in the order published. The oracle goes through
 * them one by one; those that it finds late, and no others, are dropped (counted in the database and by the metric) or are
 * dead letters, and the bars are those of the rest. No tick consumer runs.
 */
export function turnsLateAway(
  context: ScenarioContext,
  bus: BusName,
  policy: 'drop' | 'dlq',
  size: LateSize,
): Promise<Figures> {
  return BarsHarness.with(bus, context, { late: policy }, async (harness) => {
    const first = mixedEvents(context.random.seed, size);
    const files = [harness.events('first'), harness.events('late')];
    const positions: string[] = [];
    const onBatch = (batch: readonly string[]): void => void positions.push(...batch);
    // all of it is there before the first is read: no symbol falls idle in between
    await publishAll(harness.bus.bus, first, files[0], { onBatch });
    const batcher = await harness.batcher('bars-1');
    await harness.untilDone(SERIES, [batcher.program]);
    await publishAll(harness.bus.bus, lateEvents(context, first, size.late), files[1], { onBatch });
    await harness.untilDone(SERIES, [batcher.program]);
    const counted = (await batcher.metrics()).sum('microbatch_late_total', { policy });
    await harness.stop(batcher.program);

    const counts = await harness.oracle('expected_bars', files, true);
    await compareBars(harness.client, 'expected_bars', 'bars_ohlcv');
    const late = (await readFile(harness.bus.file('late'), 'utf8')).trimEnd().split('\n').map(Number);
    assert.equal(counts.late, late.length);
    assert.ok(late.length > size.late, 'some of the first events are late too');
    const { dropped } = await one<{ dropped: number }>(
      harness.client,
      'SELECT sum(late_dropped)::int AS dropped FROM bars_partitions',
    );
    const letters = await harness.bus.deadLetters();
    if (policy === 'drop') {
      assert.deepEqual({ dropped, letters: letters.size }, { dropped: late.length, letters: 0 });
    } else {
      assert.equal(dropped, 0);
      const expected = late.map((row) => `${TOPIC}|${positions[row]}`);
      assert.deepEqual([...letters.keys()].sort(), expected.sort());
      assert.ok([...letters.values()].every(({ reason }) => reason === 'late'));
    }
    assert.equal(counted, late.length, 'microbatch_late_total');
    return {
      events: counts.events,
      late: late.length,
      [policy === 'drop' ? 'dropped' : 'dead letters']: late.length,
      'bars equal': counts.bars,
    };
  });
}
