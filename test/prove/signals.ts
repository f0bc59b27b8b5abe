/**
 * make prove-signals: the acceptance run of features and signals at full size. Prints one table with the figures of each line of
 * what it must show, and ends with 1 when one of them does not hold. The tests run the same scenarios small.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { BUSES, type BusName } from './bus/harness.ts';
import { onEmbedded, prove, random, sized, type Scenario } from './runner.ts';
import { doesNotDrift, equalsTheOracle } from './signals/features.ts';
import { SIGNALS_SETTINGS, SMALL } from './signals/harness/sizes.ts';
import { survivesKills } from './signals/kills.ts';
import { isPrompt } from './signals/latency.ts';
import { holdsUpNothing, trainsWhatItServes } from './signals/models.ts';
import { survivesOutages } from './signals/outages.ts';
import { makesSignalsFast } from './signals/speed.ts';

const oracle = sized({ ticks: 200_000 }, { ticks: 4_000 });
const drift = sized({ ticks: 10_000_000 }, { ticks: 20_000 });
const kills = sized({ kills: 10, partitions: 4, events: 30_000, perSecond: 40 }, SMALL.kills);

const trained = sized({ ticks: 60_000 }, { ticks: 9_000 });
const hanging = sized({ ticks: 300_000, rateMin: 0.9 }, { ticks: 20_000, rateMin: null });
const speed = sized(
  { ticks: 200_000, signalsPerSecondMin: 50_000 },
  { ticks: 10_000, signalsPerSecondMin: null },
);
const latency = sized(
  { ticks: 20_000, perSecond: 1_000, rounds: 1_000, p99MsMax: null },
  { ticks: 2_000, perSecond: 500, rounds: 100, p99MsMax: null },
);

function killed(bus: BusName): Scenario[] {
  return [1, 2, 4].map((members) => ({
    line: '2',
    name: `${bus}: kill -9, ${members} members of each stage, ${kills.partitions} partitions`,
    run: () =>
      onEmbedded({ settings: SIGNALS_SETTINGS }, (context) =>
        survivesKills(context, bus, { ...kills, members }),
      ),
  }));
}

const outages = sized({ rounds: 5, events: 30_000, perSecond: 40 }, SMALL.outages);

function cut(bus: BusName): Scenario {
  return {
    line: '2',
    name: `${bus}: members stand still, connections are cut`,
    run: () =>
      onEmbedded({ settings: SIGNALS_SETTINGS }, (context) => survivesOutages(context, bus, outages)),
  };
}

await prove([
  {
    line: '1',
    name: 'features against pandas, numpy and scipy',
    run: () => equalsTheOracle(random.fork(), oracle),
  },
  {
    line: '1',
    name: 'features after very many updates',
    run: () => Promise.resolve(doesNotDrift(random.fork(), drift)),
  },
  ...BUSES.flatMap(killed),
  ...BUSES.map(cut),
  {
    line: '3',
    name: 'models trained on an export, converted',
    run: () =>
      onEmbedded({ settings: SIGNALS_SETTINGS }, (context) => trainsWhatItServes(context, 'redis', trained)),
  },
  {
    line: '3',
    name: 'a model that hangs',
    run: () =>
      onEmbedded({ settings: SIGNALS_SETTINGS }, (context) => holdsUpNothing(context, 'redis', hanging)),
  },
  {
    line: '4',
    name: 'signals per second of one member',
    run: () =>
      onEmbedded({ settings: SIGNALS_SETTINGS }, (context) => makesSignalsFast(context, 'redis', speed)),
  },
  {
    line: '4',
    name: 'from the watermark to the bus',
    run: () => onEmbedded({ settings: SIGNALS_SETTINGS }, (context) => isPrompt(context, latency)),
  },
]);
