/** The market side of the demo: a producer of synthetic ticks, its metrics, and the count at the end. */
import type { ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { countMarket, type MarketCounts } from '../../store/market/counts.ts';
import { start } from './processes.ts';

const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'NVDA'];
/** ticks per second per symbol */
const TICK_RATE = 200;
/** of the bars */
export const WINDOW = '2s';
export const MARKET_RATE = SYMBOLS.length * TICK_RATE;
const LOOK_MS = 200;

/** The bus is in the demo's own database: no other server is needed. */
export async function writeStreamingConfig(folder: string): Promise<string> {
  const path = join(folder, 'streaming.yaml');
  const lines = [
    'version: 1',
    'bus: { type: postgres }',
    'producers:',
    '  synthetic:',
    `    symbols: [${SYMBOLS.join(', ')}]`,
    `    tick_rate: ${TICK_RATE}`,
    // short, so that the last bars are written soon after the last tick
    'micro_batch: { window_ms: 2000, idle_timeout: 2s }',
    'signal_consumer: { flush_interval: 1s }',
    'telemetry: { log_level: warn }',
  ];
  await writeFile(path, `${lines.join('\n')}\n`);
  return path;
}

export function startProducer(streaming: string, databaseUrl: string, metricsPort: number): ChildProcess {
  const role = ['stream', 'produce', '--provider', 'synthetic', '--config', streaming];
  return start(
    'run/mdp.js',
    [...role, '--metrics-port', `${metricsPort}`],
    { DATABASE_URL: databaseUrl },
    'shown',
  );
}

export interface MarketObservation {
  /** events on the bus */
  published: number;
  /** of those, in tick_data */
  stored: number;
  /** windows whose bar is written */
  bars: number;
  /** in their table */
  signals: number;
}

/** What the metrics of the stages and of the producer say; null while one of them does not answer. */
export async function observeMarket(
  stagesPort: number,
  producerPort: number,
): Promise<MarketObservation | null> {
  try {
    const [stages, producer] = await Promise.all([stagesPort, producerPort].map(metricsOf));
    const published = sum(stages, 'stream_events_ingested_total');
    return {
      published: published + sum(producer, 'stream_events_ingested_total'),
      stored: sum(stages, 'tick_forward_total'),
      bars: sum(stages, 'microbatch_flush_total'),
      signals: sum(stages, 'signals_written_total'),
    };
  } catch {
    return null; // not listening yet, or no longer
  }
}

async function metricsOf(port: number): Promise<string> {
  const reply = await fetch(`http://127.0.0.1:${port}/metrics`);
  return reply.text();
}

/** Sum over all series of a metric in Prometheus' text format. */
function sum(text: string, metric: string): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
}

export function isMarketEqual(counts: MarketCounts): boolean {
  const { produced, producedStored, orders, ordersStored, inBars, tickTimes, deviations } = counts;
  const isStored = produced === producedStored && orders === ordersStored;
  return isStored && inBars === produced + orders && deviations === tickTimes;
}

/** Waits until everything published is stored, in its bar and has its signals, `withinMs` at most. */
export async function untilMarketEqual(url: string, daemon: ChildProcess, withinMs: number): Promise<void> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'demo' });
  try {
    const deadlineMs = performance.now() + withinMs;
    while (daemon.exitCode === null && performance.now() < deadlineMs) {
      if (isMarketEqual(await countMarket(client, WINDOW))) return;
      await delay(LOOK_MS);
    }
  } finally {
    await client.end();
  }
}
