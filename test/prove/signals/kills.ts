import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Client } from 'pg';
import { SERIES, SYMBOLS, type EventsSize } from '../bars/harness/events.ts';
import { until } from '../../support/until.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { assertPublished, assertRecomputed, compareSignals, loadSignals } from './harness/compare.ts';
import { scriptOf } from './harness/events.ts';
import { digestOf, expectedOf, type Expected } from './harness/expected.ts';
import { SignalsHarness } from './harness/harness.ts';
import { GROUPS } from './harness/roles.ts';
import { publishScript } from './harness/publish.ts';
import { Members } from './members.ts';
import { replaysTheSame } from './replays.ts';

export interface SignalsKillsSize extends EventsSize {
  /** of each stage */
  members: number;
  partitions: number;
  kills: number;
}

/** between two deaths */
const LIFE_MS = { least: 100, most: 1_500 };
/** the second of so many deaths lasts until the others have taken over what was the dead one's */
const LONG_DEATHS = 5;
const LIVE = 'replay_run_id = 0';

/**
 * Must show 2: members of both stages are killed at random moments, leave and join. The signals are those of a single program that
 * was never restarted, each is on mdp.signals with the values of the table, exports equal what was seen live, and a replay has the
 * same values and touches no live signal.
 */
export function survivesKills(
  context: ScenarioContext,
  bus: BusName,
  size: SignalsKillsSize,
): Promise<Figures> {
  const { partitions, members: count, kills } = size;
  return SignalsHarness.with(bus, context, { partitions }, async (harness) => {
    const script = scriptOf(context.random.seed, size);
    const expected = await expectedOf(script, harness.rulesFile);
    await loadSignals(harness.client, 'expected', expected.signals);
    const ticks = harness.ticks();
    const members = await Members.start(harness, count, context.random.fork());
    const publishing = publishScript(harness.bus.bus, script, kills * LIFE_MS.most);
    // a failure shows when it is awaited
    publishing.catch(() => {});
    for (let kill = 1; kill <= kills; kill += 1) {
      // every other one dies while it starts, or soon after
      if (kill % 2 === 1) await members.untilStarted();
      await delay(context.random.whole(LIFE_MS.least, LIFE_MS.most));
      if (count > 1 && kill % LONG_DEATHS === 2) await members.loseOne();
      else await members.killOne();
      if (kill % 3 === 0) await members.exchangeOne();
      context.say(`${kill} of ${kills} kills; ${await harness.countOf(LIVE)} signals`);
    }
    await publishing;
    await harness.untilSignals(expected.signals.length, LIVE, [...members.programs, ticks]);
    const equal = await compareSignals(harness.client, 'expected', `(SELECT * FROM signals WHERE ${LIVE})`);
    await untilLate(harness.client, expected.late);
    const recomputed = await assertRecomputed(harness.client, 0n);
    const replayed = await replaysTheSame(harness, [...members.programs, ticks], script);
    await harness.stop(...members.programs, ticks);
    const copies = await assertPublished(harness.client, harness.bus.bus);
    const [one, other] = [
      await harness.exported('prove', SYMBOLS),
      await harness.exported('prove-b', SYMBOLS.slice(0, 1)),
    ];
    assert.equal(one.seen + other.seen, expected.rows, 'rows of features that were seen live');
    return {
      events: script.events.length,
      series: SERIES,
      'late for features': expected.late.infer,
      'kill -9': members.kills,
      'taken over by others': members.takeovers,
      'left, and another joined': members.stops,
      'signals equal': equal,
      digest: digestOf(expected.signals),
      'of them also by SQL': recomputed,
      'on mdp.signals': copies,
      'rows of features exported, equal by digest': one.seen + other.seen,
      'signals of a replay equal': replayed,
    };
  });
}

/** They are stored with the states, soon after the last event. */
function untilLate(client: Client, expected: Expected['late']): Promise<boolean> {
  const late = async (): Promise<Record<string, number>> => {
    const { rows } = await client.query<{ name: string; n: number }>(
      'SELECT group_name AS name, count(*)::int AS n FROM features_late GROUP BY 1',
    );
    return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
  };
  const wanted = { [GROUPS.signals]: expected.signals, [GROUPS.infer]: expected.infer };
  return until('the late ticks', async () => isDeepStrictEqual(await late(), wanted), {
    deadlineMs: 20_000,
    context: async () => `${JSON.stringify(await late())}, not ${JSON.stringify(wanted)}`,
  });
}
