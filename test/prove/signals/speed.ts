import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Delivery } from '../../../src/bus/bus.ts';
import { eventIdOf } from '../../../src/core/market/event-id.ts';
import { formatMicros } from '../../../src/core/time.ts';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { until } from '../../support/until.ts';
import { mebibytes, type Figures, type ScenarioContext } from '../harness.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import { SignalsHarness } from './harness/harness.ts';
import { publishAll } from './harness/publish.ts';
import { GROUPS } from './harness/roles.ts';

const SYMBOLS = 20;
const START_US = 1_760_000_000_000_000;
const SIGNALS_TOPIC = 'mdp.signals';

/** Quoted trades of 20 symbols, so far apart. */
function ticksOf(context: ScenarioContext, count: number, apartUs: number, startUs = START_US): TickEvent[] {
  const prices = Array.from({ length: SYMBOLS }, () => 100);
  return Array.from({ length: count }, (_, at) => {
    const place = at % SYMBOLS;
    prices[place] *= 1 + context.random.whole(-100, 100) * 1e-6;
    const price = Math.round(prices[place] * 1e4) / 1e4;
    const event: Omit<TickEvent, 'eventId'> = {
      kind: 'tick',
      provider: 'speed',
      symbol: `S${place}`,
      srcTs: BigInt(startUs + at * apartUs),
      ingestTs: null,
      seq: BigInt(at),
      origin: 'live',
      replayRunId: null,
      price,
      size: context.random.whole(1, 500),
      bid: price - 0.01,
      ask: price + 0.01,
      side: at % 2 === 0 ? 1 : -1,
    };

    return {
      ...event,
      eventId: eventIdOf(event.provider, event.symbol, formatMicros(event.srcTs), event.seq, null),
    };
  });
}

export interface SignalSpeedSize {
  ticks: number;
  /** of one member, by the clock; null where other tests share the machine: then it is a figure and no condition */
  signalsPerSecondMin: number | null;
}

/** Must show 4: one member of the signal consumer and a backlog: signals in the table and on the bus, from the first step to the last. */
export function makesSignalsFast(
  context: ScenarioContext,
  bus: BusName,
  { ticks, signalsPerSecondMin }: SignalSpeedSize,
): Promise<Figures> {
  return SignalsHarness.with(bus, context, {}, async (harness) => {
    await publishAll(harness.bus.bus, ticksOf(context, ticks, 1_000));
    const { program } = harness.member('signals', 'signals-1');
    const end = await harness.bus.bus.end(TOPIC, 0);
    let begun: { ms: number; signals: number } | null = null;
    let signals = 0;
    const endMs = await until(
      'the backlog is done',
      async () => {
        assert.equal(program.end, null, program.tail);
        const { rows } = await harness.client.query<{ position: string; steps: string }>(
          `SELECT "position", step AS steps FROM bus_positions JOIN signal_partitions USING (topic, group_name, partition)
            WHERE group_name = $1`,
          [GROUPS.signals],
        );
        if (rows.length === 0) return null;
        if (begun === null) {
          signals = await harness.countOf('true');
          if (signals > 0) begun = { ms: performance.now(), signals };
        }
        return rows[0].position === end ? performance.now() : null;
      },
      { pollMs: 50, deadlineMs: 120_000, context: () => program.tail },
    );
    const first = begun ?? { ms: endMs, signals: 0 };
    const total = await harness.countOf('true');
    const perSecond = Math.round((total - first.signals) / ((endMs - first.ms) / 1000));
    const peak = program.peakBytes();
    await harness.stop(program);
    context.say(`${perSecond} signals/s`);
    if (signalsPerSecondMin !== null)
      assert.ok(perSecond >= signalsPerSecondMin, `${perSecond} signals/s, asked are ${signalsPerSecondMin}`);
    return {
      ticks,
      signals: await harness.countOf('true'),
      'one member': `${perSecond} signals/s`,
      'memory at most': mebibytes(peak),
    };
  });
}

export interface SignalLatencySize {
  ticks: number;
  perSecond: number;
  /** null as above */
  p99MsMax: number | null;
}

/**
 * Must show 4: from the event that lifts a tick's watermark over it to its signals on mdp.signals, behind their commit; by the clock of
 * the bus on both sides. A step for each look: what is measured is not how long batches may gather.
 */
export function isPrompt(
  context: ScenarioContext,
  bus: BusName,
  { ticks, perSecond, p99MsMax }: SignalLatencySize,
): Promise<Figures> {
  return SignalsHarness.with(bus, context, {}, async (harness) => {
    const program = harness.bus.program(
      ['signals', '--consumer', 'signals-1', '--batch-size', '1', '--metrics-port', '0'],
      () => {},
    );
    const warm = ticksOf(context, 200, 1_000);
    await publishAll(harness.bus.bus, warm);
    await harness.untilSignals(1, 'true', [program]);
    // event time is as fast as the clock, and lateness 500 ms of it: each tick waits for another one of its symbol
    const apartUs = Math.round(1e6 / perSecond);
    const events = ticksOf(context, ticks, apartUs, START_US + 60_000_000);
    const beganMs = performance.now();
    const batch = Math.max(1, Math.round(perSecond / 200));
    for (let at = 0; at < events.length; at += batch) {
      await publishAll(harness.bus.bus, events.slice(at, at + batch));
      await delay(beganMs + (at * 1000) / perSecond - performance.now());
    }
    await harness.untilSignals(ticks, "name = 'vwap_deviation_bps'", [program]);
    const latencies = await latenciesOf(harness);
    await harness.stop(program);
    const quantile = (part: number): number => latencies[Math.floor((latencies.length - 1) * part)] ?? NaN;
    const p99 = quantile(0.99);
    if (p99MsMax !== null) assert.ok(p99 <= p99MsMax, `p99 ${p99} ms, asked are ${p99MsMax}`);
    return {
      'ticks a second': perSecond,
      'signals measured': latencies.length,
      'watermark to bus, p50': `${quantile(0.5)} ms`,
      p99: `${p99} ms`,
    };
  });
}

/** Sorted, ms. */
async function latenciesOf(harness: SignalsHarness): Promise<number[]> {
  const lifted = new Map<string, number>();
  /** by symbol: ticks that nothing has lifted the watermark over yet */
  const waiting = new Map<string, { ts: string; us: number }[]>();
  for await (const { data, takenMs } of all(harness, TOPIC)) {
    const { symbol, src_ts: ts } = JSON.parse(Buffer.from(data ?? []).toString()) as {
      symbol: string;
      src_ts: string;
    };
    const us = Date.parse(ts) * 1000 + Number(ts.slice(23, 26));
    const before = waiting.get(symbol) ?? [];
    while (before.length > 0 && before[0].us < us - 500_000)
      lifted.set(`${symbol}|${before.shift()?.ts ?? ''}`, takenMs);
    before.push({ ts, us });
    waiting.set(symbol, before);
  }
  const latencies: number[] = [];
  for await (const { data, takenMs } of all(harness, SIGNALS_TOPIC)) {
    const { symbol, ts } = JSON.parse(Buffer.from(data ?? []).toString()) as { symbol: string; ts: string };
    const liftedMs = lifted.get(`${symbol}|${ts}`);
    if (liftedMs !== undefined) latencies.push(takenMs - liftedMs);
  }
  return latencies.sort((a, b) => a - b);
}

async function* all(harness: SignalsHarness, topic: string): AsyncGenerator<Delivery> {
  const { bus } = harness.bus;
  for (let after: string | null = null; ;) {
    const page: Delivery[] = await bus.read(topic, 0, after, 1_000);
    if (page.length === 0) return;
    yield* page;
    after = page[page.length - 1].position;
  }
}
