import assert from 'node:assert/strict';
import { barsEqualTickData } from './bars.ts';
import { BusHarness, type BusName } from './harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

/** As a person would type them; the seeds' spellings. */
const EVENTS = [
  '{"ver":1,"provider":"ibkr_primary","symbol":"SPY","kind":"tick","interval":"1s","src_ts":"2025-10-24T14:02:01.234567Z","ingest_ts":"2025-10-24T14:02:01.300000Z","o":425.1,"h":425.2,"l":425.0,"c":425.15,"v":1200,"seq":183,"event_id":"ibkr_primary|SPY|2025-10-24T14:02:01.234567Z|183"}',
  '{"kind":"tick","provider":"ibkr","symbol":"nvda","price":123.45,"timestamp":"2025-11-03T14:30:01Z","size":100,"bid":123.40,"ask":123.50}',
  '{"kind":"tick","provider":"ibkr","symbol":"QQQ","price":"500.25","ts":"2025-11-03 14:30:01.5","volume":7,"side":"sell"}',
];
const ROWS = [
  ['ibkr_primary', 'SPY', 425.15, '2025-10-24 14:02:01.234567+00', 1200, null, null, null, '183'],
  ['ibkr', 'NVDA', 123.45, '2025-11-03 14:30:01+00', 100, 123.4, 123.5, null, '0'],
  ['ibkr', 'QQQ', 500.25, '2025-11-03 14:30:01.5+00', 7, null, null, -1, '0'],
];

/** Must show 6: what redis-cli, kcat and psql put on the bus is taken as specified. */
export function takesForeignEvents(context: ScenarioContext, name: BusName): Promise<Figures> {
  return BusHarness.with(name, context, async (harness) => {
    const consumer = harness.consumer('tick-1');
    for (const text of EVENTS) {
      const { symbol } = JSON.parse(text) as { symbol: string };
      await harness.server.foreign('mdp.events', symbol, text);
    }
    await harness.untilStored(EVENTS.length, consumer);
    await harness.untilSettled();
    const { rows } = await harness.client.query<unknown[]>({
      text: 'SELECT provider, symbol, price, ts, size, bid, ask, side, seq FROM tick_data ORDER BY ts, symbol',
      rowMode: 'array',
    });
    assert.deepEqual(rows, ROWS);
    assert.equal(await consumer.stop(), 0, consumer.tail);
    const by = { redis: 'redis-cli XADD', kafka: 'kcat', postgres: 'psql' }[name];
    return { events: EVENTS.length, by, 'final bars equal to tick_data': await barsEqualTickData(harness) };
  });
}
