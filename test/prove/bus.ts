/**
 * make prove-bus: the acceptance run of the bus and of market ticks at full size, on redis, kafka and postgres. Prints one
 * table with the figures of each line of what it must show, and ends with 1 when one of them does not hold. The tests run
 * the same scenarios small.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { conforms } from './bus/conformance.ts';
import { survivesBusFaults } from './bus/faults.ts';
import { takesForeignEvents } from './bus/foreign.ts';
import { publishesOrders } from './bus/orders.ts';
import { BUSES, type BusName } from './bus/harness.ts';
import { keepsValuesApart } from './bus/values.ts';
import { carriesVolume } from './bus/volume.ts';
import { onEmbedded, prove, sized, type Scenario } from './runner.ts';
import type { Figures, ScenarioContext } from './harness.ts';

/** What was acknowledged must be there: the server keeps what it confirmed. */
const KEEPS = { synchronous_commit: 'on', shared_buffers: '256MB', max_connections: '200' };

function scenario(
  line: string,
  name: string,
  run: (context: ScenarioContext, bus: BusName) => Promise<Figures>,
): Scenario[] {
  return BUSES.map((bus) => ({
    line,
    name: `${bus}: ${name}`,
    run: () => onEmbedded({ settings: KEEPS }, (context) => run(context, bus)),
  }));
}

const volume = sized({ prefilled: 1_000_000, live: 3_000_000 }, { prefilled: 20_000, live: 20_000 });
const faults = sized(
  { events: 400_000, rate: 5_000, kills: 20, crashes: 2 },
  { events: 20_000, rate: 2_000, kills: 2, crashes: 1 },
);

await prove([
  ...BUSES.map((bus) => ({ line: '1', name: `${bus}: conformance suite`, run: () => conforms(bus) })),
  ...scenario('2', 'millions of events into tick_data', (context, bus) =>
    carriesVolume(context, bus, volume),
  ),
  ...scenario('3', 'consumers killed, servers restarted', (context, bus) =>
    survivesBusFaults(context, bus, faults),
  ),
  ...scenario('4', 'trades of one µs, malformed events', keepsValuesApart),
  ...scenario('5', 'orders of the real ticks', publishesOrders),
  ...scenario('6', 'events of foreign programs', takesForeignEvents),
]);
