/**
 * make prove-replay: the acceptance run of replays at full size. Prints one table with the figures of each line of what it must show,
 * and ends with 1 when one of them does not hold. The tests run the same scenarios small.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { BUSES, type BusName } from './bus/harness.ts';
import { continuesAfterKill, replaysInBurst } from './replay/burst.ts';
import { makesTheSame } from './replay/equality.ts';
import { namesMistakes } from './replay/mistakes.ts';
import { keepsTime } from './replay/pacing.ts';
import { FULL, SMALL } from './replay/sizes.ts';
import { onEmbedded, prove, sized, type Scenario } from './runner.ts';

const sizes = sized(FULL, SMALL);
/** shared_buffers of a small server: a million ticks are read and hashed */
const SETTINGS = { shared_buffers: '256MB', work_mem: '64MB' };

/** Full size on redis, where the rate is judged; small on the others. */
function onBus(bus: BusName): Scenario[] {
  const { burst, kill, pacing, equality } = bus === 'redis' ? sizes : SMALL;
  const scenario = (line: string, name: string, run: Scenario['run']): Scenario => ({
    line,
    name: `${bus}: ${name}`,
    run,
  });
  return [
    scenario('1', 'a burst is what is stored, in order', () =>
      onEmbedded({ settings: SETTINGS }, (context) => replaysInBurst(context, bus, burst)),
    ),
    scenario('1', 'kill -9 half-way', () =>
      onEmbedded({ settings: SETTINGS }, (context) => continuesAfterKill(context, bus, kill)),
    ),
    scenario('1', 'spacing at speed 1 and 10, and a pause', () =>
      onEmbedded({ settings: SETTINGS }, (context) => keepsTime(context, bus, pacing)),
    ),
    scenario('2', 'bars and signals of a replay are the live ones', () =>
      onEmbedded({ settings: SETTINGS }, (context) => makesTheSame(context, bus, equality)),
    ),
  ];
}

await prove([
  ...BUSES.flatMap(onBus),
  {
    line: '5',
    name: 'mistakes are named',
    run: () => onEmbedded({ settings: SETTINGS }, (context) => namesMistakes(context, 'postgres')),
  },
]);
