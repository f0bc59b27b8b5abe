import assert from 'node:assert/strict';
import { until } from '../../support/until.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import { SignalsHarness } from './harness/harness.ts';
import { publishAll } from './harness/publish.ts';
import { GROUPS } from './harness/roles.ts';
import { steadyTicks } from './harness/steady.ts';

export interface SignalSpeedSize {
  ticks: number;
  /** of one member, by the clock; null where other tests share the machine: then it is a figure and no condition */
  signalsPerSecondMin: number | null;
}

/** Must show 4: one member of the signal consumer and a backlog: signals in the table and on the bus, from the first step to the last. */
export function makesSignalsFast(
  context: ScenarioContext,
  bus: BusName,
  { ticks, signalsPerSecondMin }: SignalSpeedSize,
): Promise<Figures> {
  return SignalsHarness.with(bus, context, {}, async (harness) => {
    await publishAll(harness.bus.bus, steadyTicks(context.random, ticks, 1_000));
    const { program } = harness.member('signals', 'signals-1');
    const end = await harness.bus.bus.end(TOPIC, 0);
    let begun: { ms: number; signals: number } | null = null;
    let signals = 0;
    const endMs = await until(
      'the backlog is done',
      async () => {
        assert.equal(program.end, null, program.tail);
        const { rows } = await harness.client.query<{ position: string; steps: string }>(
          `SELECT "position", step AS steps FROM bus_positions JOIN signal_partitions USING (topic, group_name, partition)
            WHERE group_name = $1`,
          [GROUPS.signals],
        );
        if (rows.length === 0) return null;
        if (begun === null) {
          signals = await harness.countOf('true');
          if (signals > 0) begun = { ms: performance.now(), signals };
        }
        return rows[0].position === end ? performance.now() : null;
      },
      { pollMs: 50, deadlineMs: 120_000, context: () => program.tail },
    );
    const first = begun ?? { ms: endMs, signals: 0 };
    const total = await harness.countOf('true');
    const perSecond = Math.round((total - first.signals) / ((endMs - first.ms) / 1000));
    const peak = program.peakBytes();
    await harness.stop(program);
    context.say(`${perSecond} signals/s`);
    if (signalsPerSecondMin !== null)
      assert.ok(perSecond >= signalsPerSecondMin, `${perSecond} signals/s, asked are ${signalsPerSecondMin}`);
    return {
      ticks,
      signals: await harness.countOf('true'),
      'one member': `${perSecond} signals/s`,
      'memory at most': mebibytes(peak),
    };
  });
}
