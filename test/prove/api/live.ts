import assert from 'node:assert/strict';
import { createClient, type MarketTick } from '../../../src/client/exports.ts';
import { formatMicros, systemClock } from '../../../src/core/time.ts';
import { TcpProxy } from '../../support/servers/proxy.ts';
import { BusHarness, paced, type BusName, type Part } from '../bus/harness.ts';
import { seconds, type Figures, type ScenarioContext } from '../harness.ts';
import { ServedApi, TOKEN } from './server.ts';

export interface LiveCuts {
  /** stored before the client connects, with times of an hour ago */
  history: number;
  /** published while it reads */
  live: number;
  perSecond: number;
  cuts: number;
}

const HOUR_MICROS = 3_600_000_000n;
const UNLIMITED = { sections: 'api:\n  rate_limit: 0\n' };

/**
 * Must show 3: a client that begins an hour back is cut over and over while events flow, and sees exactly what is stored: each tick
 * once, those of a symbol in their order.
 */
export function seesExactlyWhatIsStored(
  context: ScenarioContext,
  bus: BusName,
  { history, live, perSecond, cuts }: LiveCuts,
): Promise<Figures> {
  return BusHarness.with(
    bus,
    context,
    async (harness) => {
      const began = systemClock.nowMicros() - HOUR_MICROS;
      const past: Part = { index: 0, count: history, rate: 0, startMicros: began };
      const consumer = harness.consumer('ticks-1');
      await harness.produced(harness.producer(past));
      await harness.untilStored(history, consumer);
      const api = await ServedApi.start(harness);
      const proxy = await TcpProxy.start(new URL(api.url).host, context.random.fork());
      try {
        const total = history + live;
        const producer = harness.producer(paced(1, live, perSecond));
        const beganMs = performance.now();
        const seen = await followed(`http://${proxy.address}`, began, total, () => proxy.cutAll(), cuts);
        const tookMs = performance.now() - beganMs;
        await harness.produced(producer);
        await harness.untilStored(total, consumer);
        await equalsStored(harness, seen.keys);
        return {
          'ticks seen, and stored': seen.keys.length,
          cuts: seen.cuts,
          'of a published rate': `${perSecond}/s`,
          took: seconds(tookMs),
        };
      } finally {
        await proxy.stop();
        assert.equal(await api.program.stop(), 0, api.program.tail);
      }
    },
    UNLIMITED,
  );
}

/** Reads `total` ticks and cuts its own connection after every so many. */
async function followed(
  url: string,
  fromMicros: bigint,
  total: number,
  cut: () => void,
  cuts: number,
): Promise<{ keys: string[]; cuts: number }> {
  const client = createClient({ url, token: TOKEN });
  const keys: string[] = [];
  let happened = 0;
  const ending = new AbortController();
  const feed = client.live({
    topic: 'ticks',
    from: formatMicros(fromMicros),
    signal: ending.signal,
    onCut: () => (happened += 1),
  });
  const every = Math.floor(total / (cuts + 1));
  for await (const event of feed) {
    if ('loss' in event) throw new Error(`${event.event}: ${JSON.stringify(event.loss)}`);
    keys.push(keyOf(event.item));
    if (keys.length % every === 0) cut();
    if (keys.length === total) break;
  }
  ending.abort();
  return { keys, cuts: happened };
}

function keyOf({ provider, symbol, ts, seq }: MarketTick): string {
  return `${provider}|${symbol}|${ts}|${seq}`;
}

/** Each key of tick_data once, and those of a symbol by their time, as they were published. */
async function equalsStored(harness: BusHarness, seen: readonly string[]): Promise<void> {
  const { rows } = await harness.client.query<{ key: string }>(
    `SELECT provider || '|' || symbol || '|' || to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || seq AS key
       FROM tick_data ORDER BY symbol, ts, seq`,
  );
  const bySymbol = Map.groupBy(seen, (key) => key.split('|')[1] ?? '');
  const sorted = [...bySymbol.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, keys]) => keys);
  assert.equal(sorted.length, rows.length);
  const at = sorted.findIndex((key, index) => key !== rows[index].key);
  assert.equal(at, -1, `seen ${sorted[at]}, stored ${rows[at]?.key}`);
}
