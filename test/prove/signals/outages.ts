import { setTimeout as delay } from 'node:timers/promises';
import type { EventsSize } from '../bars/harness/events.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { assertPublished, assertRecomputed, compareSignals, loadSignals } from './harness/compare.ts';
import { scriptOf } from './harness/events.ts';
import { digestOf, expectedOf, IDLE_MS } from './harness/expected.ts';
import { SignalsHarness } from './harness/harness.ts';
import { publishScript } from './harness/publish.ts';
import { Members } from './members.ts';

export interface OutagesSize extends EventsSize {
  rounds: number;
}

/** longer than a symbol may be silent, and shorter than a lease */
const BLIND_MS = IDLE_MS + 1_200;
/** longer than a lease */
const FROZEN_MS = 8_000;

/**
 * Must show 2: members stand still while events come, for less than their leases and for more, and the bus drops every connection. What
 * they did not see meanwhile is no silence of the symbols: the signals are those of a single program without outages.
 */
export function survivesOutages(
  context: ScenarioContext,
  bus: BusName,
  { rounds, ...size }: OutagesSize,
): Promise<Figures> {
  return SignalsHarness.with(bus, context, { partitions: 2 }, async (harness) => {
    const script = scriptOf(context.random.seed, size);
    const expected = await expectedOf(script, harness.rulesFile);
    await loadSignals(harness.client, 'expected', expected.signals);
    const ticks = harness.ticks();
    const members = await Members.start(harness, 2, context.random.fork());
    const publishing = publishScript(harness.bus.bus, script, rounds * (BLIND_MS + FROZEN_MS));
    // a failure shows when it is awaited
    publishing.catch(() => {});
    for (let round = 1; round <= rounds; round += 1) {
      await members.stopAll(BLIND_MS);
      await delay(context.random.whole(0, 500));
      await harness.bus.cutConnections();
      await members.stopOne(FROZEN_MS);
      context.say(`${round} of ${rounds} rounds`);
    }
    await publishing;
    await harness.untilSignals(expected.signals.length, 'replay_run_id = 0', [...members.programs, ticks]);
    const equal = await compareSignals(harness.client, 'expected', 'signals');
    const recomputed = await assertRecomputed(harness.client, 0n);
    await harness.stop(...members.programs, ticks);
    return {
      events: script.events.length,
      'members stood still': members.frozen,
      'connections cut': rounds,
      'signals equal': equal,
      digest: digestOf(expected.signals),
      'of them also by SQL': recomputed,
      'on mdp.signals': await assertPublished(harness.client, harness.bus.bus),
    };
  });
}
