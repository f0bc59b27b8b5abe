import assert from 'node:assert/strict';
import { Program } from '../../support/run/program.ts';
import { startSim } from '../../support/chain/sim.ts';
import { until } from '../../support/until.ts';
import { barsEqualTickData } from './bars.ts';
import { BusHarness, type BusName } from './harness.ts';
import { realTicks } from '../../support/chain/content/real-ticks.ts';
import { Skipped, type Figures, type ScenarioContext } from '../harness.ts';

/** Prices and sizes as a person reads them off the three payloads; seq is the number that the sequencer gave. */
const ROWS = [
  ['continuum', 'SOL-USDC', 113, '2025-08-23 10:35:03.17836+00', 46.400472862, -1, '44941'],
  ['continuum', 'SOL-USDC', 110, '2025-08-23 10:35:05.266188+00', 25.50128361, 1, '44942'],
  ['continuum', 'SOL-USDC', 122, '2025-08-23 10:35:06.273971+00', 40.128850103, 1, '44943'],
];

/**
 * Must show 5: the three real ticks through the daemon with the stages ingest, orders and ticks give three market ticks, and
 * three events on the bus. Started again, nothing is doubled.
 */
export async function publishesOrders(context: ScenarioContext, name: BusName): Promise<Figures> {
  if (realTicks.skip !== false) throw new Skipped(realTicks.skip);
  return BusHarness.with(name, context, async (harness) => {
    const sim = await startSim(['--replay', realTicks.path]);
    let consuming = 0;
    const onLine = ({ msg }: Record<string, unknown>): void => {
      if (msg === 'TickConsumer started') consuming += 1;
    };
    const start = (): Program => {
      const env = {
        CONTINUUM_GRPC_URL: sim.address,
        DATABASE_URL: harness.databaseUrl,
        START_TICK: '541409765',
        STAGES: 'ingest,orders,ticks',
        STREAMING_CONFIG: harness.configFile,
        HEALTH_CHECK_PORT: '0',
        METRICS_PORT: '0',
      };
      return new Program('tick-ingester', [], env, onLine);
    };
    let daemon = start();
    try {
      await stored(harness, daemon);
      assert.equal(await daemon.stop(), 0, daemon.tail);
      // once more: position and cursor are where they were
      daemon = start();
      await until('the stage ticks runs again', () => consuming === 2, { context: () => daemon.tail });
      await harness.untilSettled();
      await stored(harness, daemon);
      assert.equal(await daemon.stop(), 0, daemon.tail);
    } finally {
      if (daemon.end === null) await daemon.kill();
      await sim.stop();
    }
    const { rows } = await harness.client.query<unknown[]>({
      text: 'SELECT provider, symbol, price, ts, size, side, seq FROM tick_data ORDER BY ts',
      rowMode: 'array',
    });
    assert.deepEqual(rows, ROWS);
    const events = await harness.bus.read('mdp.events', 0, null, 100);
    assert.equal(new Set(events.map(({ eventId }) => eventId)).size, 3);
    const bars = await barsEqualTickData(harness);
    return { events: events.length, bars, prices: rows.map((row) => row[2]).join(', ') };
  });
}

async function stored(harness: BusHarness, daemon: Program): Promise<void> {
  await until('the three orders are stored', async () => (await harness.stored()) === ROWS.length, {
    context: () => daemon.tail,
  });
}
