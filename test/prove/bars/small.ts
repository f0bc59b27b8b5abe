import { after, test } from 'tap';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { contextOf, tried } from '../../support/harness.ts';
import { writesNothingTwice } from './again.ts';
import { judgesContestsOnce } from './contested.ts';
import { survivesKills } from './kills.ts';
import { staysWithinTheWindow } from './latency.ts';
import { revisesLateWindows } from './late.ts';
import { turnsLateAway } from './policies.ts';
import { keepsReplaysApart, repairsBars } from './replays.ts';
import { BARS_SETTINGS, SMALL } from './harness/sizes.ts';
import { isFastEnough } from './speed.ts';
import { makesExactBars } from './volume.ts';
import type { BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

type Small = (what: string, run: (context: ScenarioContext) => Promise<Figures>) => void;

function smallTests(bus: BusName): Small {
  let postgres: TestPostgres | null = null;
  after(() => postgres?.stop());
  const database = async (): Promise<string> => {
    postgres ??= await startPostgres({ settings: BARS_SETTINGS });
    return postgres.createDatabase();
  };
  return (what, run) => void test(`${bus}: ${what}`, (t) => tried(t, () => run(contextOf(t, database))));
}

/** Every scenario of make prove-bars that runs on all buses, with less of everything. */
export function smallOnEachBus(bus: BusName): void {
  const small = smallTests(bus);
  const { kills, events, perSecond, livePerSecond } = SMALL.kills;
  small('exact bars', (context) => makesExactBars(context, bus, SMALL.volume));
  small('bars although members are killed, live, two of them', (context) =>
    survivesKills(context, bus, {
      members: 2,
      partitions: 4,
      mode: 'live',
      kills,
      events,
      perSecond: livePerSecond,
    }),
  );
  small('bars although members are killed, from a shuffled file, four of them and one partition', (context) =>
    survivesKills(context, bus, { members: 4, partitions: 1, mode: 'file', kills, events, perSecond }),
  );
  small('two contents of one tick', (context) => judgesContestsOnce(context, bus, SMALL.contested));
  small('late windows are revised', (context) => revisesLateWindows(context, bus, SMALL.late));
}

/** The others, in which the bus matters less. */
export function smallOnOneBus(bus: BusName): void {
  const small = smallTests(bus);
  small('late events dropped', (context) => turnsLateAway(context, bus, 'drop', SMALL.late));
  small('late events as dead letters', (context) => turnsLateAway(context, bus, 'dlq', SMALL.late));
  small('the same bars again', (context) => writesNothingTwice(context, bus, SMALL.again));
  small('a replay apart', (context) => keepsReplaysApart(context, bus, SMALL.again));
  small('a repair', (context) => repairsBars(context, bus, SMALL.again));
  small('speed', (context) => isFastEnough(context, bus, SMALL.speed));
  small('latency', (context) => staysWithinTheWindow(context, bus, SMALL.latency));
}
