import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { TickEvent } from '../../../src/core/market/event.ts';
import { formatMicros, systemClock } from '../../../src/core/time.ts';
import { Trend } from '../../support/trend.ts';
import { one } from './harness/compare.ts';
import { arrivals, MIXED, SERIES } from './harness/events.ts';
import { Marks } from './harness/marks.ts';
import { publishLive } from './harness/publish.ts';
import { BarsHarness, WINDOW_MS, type Batcher } from './harness/harness.ts';
import { BARS_GROUP } from '../bus/bars.ts';
import { TOPIC, type BusName } from '../bus/harness.ts';
import type { Figures, ScenarioContext } from '../harness.ts';

export interface BarsLatencySize {
  /** events, by the clock */
  perSecond: number;
  seconds: number;
  /**
   * p95 from an event's ingest_ts to the commit of its bar, in windows; null where other tests share the machine: then all
   * that is timed is a figure and no condition
   */
  windowsMax: number | null;
}

const LOOK_MS = 1_000;
const MINUTE_MS = 60_000;
/** one event in so many is measured */
const SAMPLE = 10;
/** before it the trend is not looked at: programs warm up */
const WARM_SHARE = 0.2;
const LAG_WINDOWS_MAX = 2;
/** What is not acknowledged may grow over the run by no more than the events of half a window: more is a backlog. */
const GROWTH_WINDOWS_MAX = 0.5;

/**
 * Must show 5: events with the clock, the tick consumer beside the micro-batcher. p95 end to end, the lag of the consumer over
 * each minute, and what is pending, which must not grow.
 */
export function staysWithinTheWindow(
  context: ScenarioContext,
  bus: BusName,
  size: BarsLatencySize,
): Promise<Figures> {
  return BarsHarness.with(bus, context, {}, async (harness) => {
    const { perSecond, seconds, windowsMax } = size;
    await harness.client.query(
      'CREATE TABLE sent (provider text COLLATE "C", symbol text COLLATE "C", ts timestamptz, ingest_ts timestamptz)',
    );
    const ticks = harness.ticks();
    const batcher = await harness.batcher('bars-1');
    // they run before the clock does
    await harness.untilRead(BARS_GROUP, [batcher.program, ticks]);
    const file = harness.events('events');
    const sent: string[] = [];
    const marks = new Marks(harness.bus.bus);
    const onBatch = (positions: readonly string[], events: readonly TickEvent[]): void => {
      marks.add(positions);
      for (let at = SAMPLE - 1; at < events.length; at += SAMPLE) sent.push(sentRow(events[at]));
    };
    const startMicros = systemClock.nowMicros();
    const options = { ...MIXED, latePerMille: 0, seed: `${context.random.seed}`, startMicros, perSecond };
    const beganMs = performance.now();
    const isOver = (): boolean => performance.now() - beganMs > seconds * 1000;
    const watch = new Watch(harness, batcher, marks, seconds);
    await Promise.all([
      publishLive(harness.bus.bus, arrivals({ ...options, count: Infinity }), file, isOver, { onBatch }),
      watch.run(beganMs, isOver),
    ]);
    const behind = performance.now() - beganMs - seconds * 1000;
    await harness.untilDone(SERIES, [batcher.program, ticks]);
    await harness.stop(batcher.program, ticks);
    await pipeline(Readable.from(sent), harness.client.query(copyFrom('COPY sent FROM STDIN')));
    const latency = await one<Latency>(harness.client, LATENCY);
    assert.equal(latency.lost, 0, 'events without a bar');
    const counts = await harness.equalsOracle(file);
    context.say(`${JSON.stringify(latency)}; the producer ended ${Math.round(behind)} ms late`);
    const { worst, growth, figures } = watch.figures();
    if (windowsMax !== null) {
      const reached = file.count / (seconds * perSecond);
      assert.ok(reached > 0.95, `only ${file.count} events in ${seconds} s: the producer did not keep up`);
      assert.ok(
        latency.p95 <= windowsMax * WINDOW_MS,
        `p95 is ${latency.p95} ms, asked is ${windowsMax} x ${WINDOW_MS} ms`,
      );
      judge(worst, growth, perSecond);
    }
    return {
      events: file.count,
      'events/s': perSecond,
      'p50 end to end': `${latency.p50} ms`,
      p95: `${latency.p95} ms`,
      p99: `${latency.p99} ms`,
      ...figures,
      'bars equal': counts.bars,
    };
  });
}

interface Latency extends Record<string, unknown> {
  p50: number;
  p95: number;
  p99: number;
  lost: number;
}

/**
 * A bar's time of commit is known to the server (track_commit_timestamp). The windows at the end are left out: no event comes
 * behind them, so they wait for the idle timeout, as no window does while events come.
 */
const LATENCY = `SELECT
    round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::int AS p50,
    round(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms))::int AS p95,
    round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms))::int AS p99,
    count(*) FILTER (WHERE ms IS NULL)::int AS lost
  FROM (SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(tx::xid) - ingest_ts) AS ms
    FROM sent s LEFT JOIN (SELECT * FROM bars_ohlcv WHERE "interval" = '${WINDOW_MS / 1000}s') b
      USING (provider, symbol, ts)
    WHERE ts < (SELECT max(ts) FROM sent) - interval '${WINDOW_MS} ms') measured`;

function sentRow({ provider, symbol, srcTs, ingestTs }: TickEvent): string {
  const window = srcTs - (srcTs % (BigInt(WINDOW_MS) * 1000n));
  return `${provider}\t${symbol}\t${formatMicros(window)}\t${formatMicros(ingestTs ?? srcTs)}\n`;
}

/** What is not acknowledged and how far the consumer lags, once a second. */
class Watch {
  readonly #harness: BarsHarness;
  readonly #batcher: Batcher;
  readonly #marks: Marks;
  readonly #seconds: number;
  readonly #waiting = new Trend();
  /** a list for each minute, ms */
  readonly #lags: number[][] = [];

  constructor(harness: BarsHarness, batcher: Batcher, marks: Marks, seconds: number) {
    this.#harness = harness;
    this.#batcher = batcher;
    this.#marks = marks;
    this.#seconds = seconds;
  }

  async run(beganMs: number, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const atMs = performance.now() - beganMs;
      const own = (await this.#harness.bus.bus.groups(TOPIC)).find(({ group }) => group === BARS_GROUP);
      this.#waiting.add(atMs / 1000, this.#marks.total - this.#marks.upTo(own?.acknowledged ?? null));
      const lags = (await this.#batcher.metrics()).values('stream_consumer_lag_ms', { group: BARS_GROUP });
      (this.#lags[Math.floor(atMs / MINUTE_MS)] ??= []).push(Math.max(...lags));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** worst: the longest lag of each minute, ms; growth: of what is not acknowledged, events over the run */
  figures(): { worst: number[]; growth: number; figures: Figures } {
    const worst = this.#lags.map((lags) => Math.max(...lags));
    const mean = this.#lags.map((lags) => lags.reduce((sum, lag) => sum + lag, 0) / lags.length);
    const from = this.#seconds * WARM_SHARE;
    const growth = this.#waiting.slopePerSecond(from) * (this.#seconds - from);
    const figures = {
      'lag at most': `${Math.round(Math.max(...worst))} ms`,
      'mean lag of the worst minute': `${Math.round(Math.max(...mean))} ms`,
      'not acknowledged at most': this.#waiting.highest,
      'growth over the run': Math.round(growth),
    };
    return { worst, growth, figures };
  }
}

function judge(worst: readonly number[], growth: number, perSecond: number): void {
  const lagMsMax = LAG_WINDOWS_MAX * WINDOW_MS;
  worst.forEach((lag, minute) => assert.ok(lag < lagMsMax, `lag of ${lag} ms in minute ${minute + 1}`));
  const growthMax = (GROWTH_WINDOWS_MAX * WINDOW_MS * perSecond) / 1000;
  assert.ok(
    growth <= growthMax,
    `what is not acknowledged grew by ${growth} events, allowed are ${growthMax}`,
  );
}
