import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Delivery } from '../../../src/bus/bus.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { TOPIC } from '../bus/harness.ts';
import { diskTimes } from './harness/disk.ts';
import { SignalsHarness } from './harness/harness.ts';
import { publishAll } from './harness/publish.ts';
import type { Stamps } from './harness/stamps.ts';
import { START_US, steadyTicks } from './harness/steady.ts';

const SIGNALS_TOPIC = 'mdp.signals';
const STAMPS = new URL('harness/stamps.ts', import.meta.url).href;
/** how often events are published a second */
const BATCHES = 200;

export interface SignalLatencySize {
  ticks: number;
  perSecond: number;
  /** how often the disk alone is measured */
  rounds: number;
  /** null where other tests share the machine: then it is a figure and no condition */
  p99MsMax: number | null;
}

/** The way of one signal, ms; from the event that lifts the watermark over its tick. */
interface Way {
  /** to mdp.signals, by the clock of the bus on both sides */
  total: number;
  /** until the member has the event: the bus gives it away when it is on disk */
  read: number;
  /** until the features are up to date */
  computed: number;
  /** until the transaction before is answered, and this one sent */
  waited: number;
  /** until COMMIT is answered */
  committed: number;
  /** until the signals before are on the bus, and these are given to it */
  queued: number;
  /** until the bus has them on disk */
  published: number;
}

/**
 * Must show 4: from the event that lifts a tick's watermark over it to its signals on mdp.signals, behind their commit, and where that
 * time goes. A step for each look: what is measured is not how long batches may gather. Beside it, what the disk alone takes.
 */
export function isPrompt(
  context: ScenarioContext,
  { ticks, perSecond, rounds, p99MsMax }: SignalLatencySize,
): Promise<Figures> {
  return SignalsHarness.with('redis', context, {}, async (harness) => {
    const disk = await diskTimes(harness.client, harness.bus.bus, { rounds, apartMs: 1000 / BATCHES });
    const file = harness.bus.file('stamps.json');
    const program = harness.bus.program(
      ['signals', '--consumer', 'signals-1', '--batch-size', '1', '--metrics-port', '0'],
      () => {},
      { NODE_OPTIONS: `--import ${STAMPS}`, STAMPS: file },
    );
    await publishAll(harness.bus.bus, steadyTicks(context.random, 200, 1_000));
    await harness.untilSignals(1, 'true', [program]);
    // event time is as fast as the clock, and lateness 500 ms of it: each tick waits for another one of its symbol
    const apartUs = Math.round(1e6 / perSecond);
    const events = steadyTicks(context.random, ticks, apartUs, START_US + 60_000_000);
    const beganMs = performance.now();
    const batch = Math.max(1, Math.round(perSecond / BATCHES));
    for (let at = 0; at < events.length; at += batch) {
      await publishAll(harness.bus.bus, events.slice(at, at + batch));
      await delay(Math.max(0, beganMs + (at * 1000) / perSecond - performance.now()));
    }
    await harness.untilSignals(ticks, "name = 'vwap_deviation_bps'", [program]);
    await harness.stop(program);
    const ways = await waysOf(harness, JSON.parse(await readFile(file, 'utf8')) as Stamps);
    const quantile = (part: keyof Way, q: number): number => at(sorted(ways.map((way) => way[part])), q);
    const p99 = quantile('total', 0.99);
    if (p99MsMax !== null) assert.ok(p99 <= p99MsMax, `p99 ${p99} ms, asked are ${p99MsMax}`);
    const both = (part: keyof Way): string => pair((q) => quantile(part, q));
    return {
      'ticks a second': perSecond,
      'signals measured': ways.length,
      'watermark to bus, p50': `${quantile('total', 0.5)} ms`,
      p99: `${p99} ms`,
      'of these (p50/p99 ms): event on disk and read': both('read'),
      'features computed': both('computed'),
      'the transaction before': both('waited'),
      COMMIT: both('committed'),
      'the signals before': both('queued'),
      'signals on disk of the bus': both('published'),
      'the disk alone: XADD': pair((q) => at(disk.publications, q)),
      'empty COMMIT': pair((q) => at(disk.commits, q)),
      'one behind the other': pair((q) => at(disk.both, q)),
    };
  });
}

function at(times: readonly number[], part: number): number {
  return times[Math.floor((times.length - 1) * part)] ?? NaN;
}

function sorted(times: readonly number[]): number[] {
  return times.toSorted((a, b) => a - b);
}

function pair(quantile: (part: number) => number): string {
  return [0.5, 0.99].map((part) => quantile(part).toFixed(1)).join('/');
}

async function waysOf(harness: SignalsHarness, stamps: Stamps): Promise<Way[]> {
  const lifted = await liftedBy(harness);
  const reads = new Map(stamps.reads.flatMap((read) => read.positions.map((position) => [position, read])));
  const steps = new Map(stamps.steps.flatMap((step) => step.ids.map((id) => [id, step])));
  const publications = new Map(stamps.publications.flatMap((each) => each.ids.map((id) => [id, each])));
  const ways: Way[] = [];
  for await (const { data, takenMs } of all(harness, SIGNALS_TOPIC)) {
    const {
      symbol,
      ts,
      event_id: id,
    } = JSON.parse(Buffer.from(data ?? []).toString()) as {
      symbol: string;
      ts: string;
      event_id: string;
    };
    const event = lifted.get(`${symbol}|${ts}`);
    const read = reads.get(event?.position ?? '');
    const step = steps.get(id);
    const publication = publications.get(id);
    if (event === undefined || read === undefined || step === undefined || publication === undefined)
      continue;
    ways.push({
      total: takenMs - event.takenMs,
      read: read.readMs - event.takenMs,
      computed: read.computedMs - read.readMs,
      waited: step.sentMs - read.computedMs,
      committed: step.committedMs - step.sentMs,
      queued: publication.calledMs - step.committedMs,
      published: publication.answeredMs - publication.calledMs,
    });
  }
  return ways;
}

/** By symbol|time of a tick: the event that lifts the watermark over it. */
async function liftedBy(harness: SignalsHarness): Promise<Map<string, Delivery>> {
  const lifted = new Map<string, Delivery>();
  /** by symbol: ticks that nothing has lifted the watermark over yet */
  const waiting = new Map<string, { ts: string; us: number }[]>();
  for await (const event of all(harness, TOPIC)) {
    const { symbol, src_ts: ts } = JSON.parse(Buffer.from(event.data ?? []).toString()) as {
      symbol: string;
      src_ts: string;
    };
    const us = Date.parse(ts) * 1000 + Number(ts.slice(23, 26));
    const before = waiting.get(symbol) ?? [];
    while (before.length > 0 && before[0].us < us - 500_000)
      lifted.set(`${symbol}|${before.shift()?.ts ?? ''}`, event);
    before.push({ ts, us });
    waiting.set(symbol, before);
  }
  return lifted;
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
