/**
 * make prove-bars: the acceptance run of the micro-batcher at full size. Prints one table with the figures of each line of what
 * it must show, and ends with 1 when one of them does not hold. The tests run the same scenarios small. Bars are compared with
 * those of an oracle of its own (test/oracle/bars.py).
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { writesNothingTwice } from './bars/again.ts';
import { judgesContestsOnce } from './bars/contested.ts';
import { survivesKills } from './bars/kills.ts';
import { staysWithinTheWindow } from './bars/latency.ts';
import { revisesLateWindows } from './bars/late.ts';
import { turnsLateAway } from './bars/policies.ts';
import { keepsReplaysApart, repairsBars } from './bars/replays.ts';
import { BARS_SETTINGS, SMALL } from './bars/harness/sizes.ts';
import { isFastEnough } from './bars/speed.ts';
import { makesExactBars } from './bars/volume.ts';
import { BUSES, type BusName } from './bus/harness.ts';
import { onEmbedded, prove, sized, type Scenario } from './runner.ts';
import type { Figures, ScenarioContext } from './harness.ts';

function scenario(line: string, name: string, run: (context: ScenarioContext) => Promise<Figures>): Scenario {
  return { line, name, run: () => onEmbedded({ settings: BARS_SETTINGS }, run) };
}

const volume = sized({ events: 2_000_000, perSecond: 500 }, SMALL.volume);
const late = sized({ events: 300_000, perSecond: 100, late: 20_000 }, SMALL.late);
const contested = sized({ events: 200_000, perSecond: 100 }, SMALL.contested);
const again = sized({ events: 200_000, perSecond: 100 }, SMALL.again);
const speed = sized({ events: 2_000_000, perSecond: 2_000, eventsPerSecondMin: 100_000 }, SMALL.speed);
const latency = (perSecond: number): Parameters<typeof staysWithinTheWindow>[2] =>
  sized({ perSecond, seconds: 300, windowsMax: 1.5 }, SMALL.latency);
const kills = sized({ kills: 20, events: 200_000, perSecond: 100, livePerSecond: 3_000 }, SMALL.kills);

function killed(bus: BusName): Scenario[] {
  return (['live', 'file'] as const).flatMap((mode) =>
    [1, 2, 4].map((members) => {
      // one run of each bus has a single partition, for which further members stand by
      const partitions = members === 2 && mode === 'file' ? 1 : 4;
      const perSecond = mode === 'live' ? kills.livePerSecond : kills.perSecond;
      const name = `${bus}: kill -9, ${mode}, ${members} members, ${partitions} partitions`;
      return scenario('2', name, (context) =>
        survivesKills(context, bus, { ...kills, members, mode, partitions, perSecond }),
      );
    }),
  );
}

await prove([
  scenario('1', 'redis: exact bars', (context) => makesExactBars(context, 'redis', volume)),
  ...BUSES.flatMap(killed),
  ...BUSES.map((bus) =>
    scenario('3', `${bus}: two contents of one tick`, (context) =>
      judgesContestsOnce(context, bus, contested),
    ),
  ),
  scenario('3', 'redis: late, revise', (context) => revisesLateWindows(context, 'redis', late)),
  scenario('3', 'redis: late, drop', (context) => turnsLateAway(context, 'redis', 'drop', late)),
  scenario('3', 'redis: late, dlq', (context) => turnsLateAway(context, 'redis', 'dlq', late)),
  scenario('4', 'redis: the same bars again', (context) => writesNothingTwice(context, 'redis', again)),
  scenario('4', 'redis: replay apart', (context) => keepsReplaysApart(context, 'redis', again)),
  scenario('4', 'redis: repair', (context) => repairsBars(context, 'redis', again)),
  scenario('5', 'redis: speed of one member', (context) => isFastEnough(context, 'redis', speed)),
  scenario('5', 'redis: latency at 50,000 a minute', (context) =>
    staysWithinTheWindow(context, 'redis', latency(50_000 / 60)),
  ),
  scenario('5', 'redis: latency at 20,000 a second', (context) =>
    staysWithinTheWindow(context, 'redis', latency(20_000)),
  ),
]);
