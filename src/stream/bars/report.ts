import type { Env } from '../../core/env.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import type { MarketEvent } from '../../core/market/event.ts';
import { intervalName } from '../../core/market/interval.ts';
import type { EventOutcome } from '../../core/window/rules.ts';
import type { Step } from '../../core/window/step.ts';
import { formatMicros } from '../../core/time.ts';
import type { ChangedBar } from '../../store/bars/rows.ts';
import type { Revision } from '../../store/bars/revise.ts';
import type { StepResult } from '../../store/bars/commit-step.ts';
import { countAltered } from '../altered.ts';
import { SymbolLabels, type Meter } from '../meter.ts';
import type { JobRun } from '../job-run.ts';
import { UnfitCandles } from './unfit-candles.ts';

export const COMPONENT = 'micro_batch';
/** log lines for the corrections, and for the dead letters, of one transaction */
const LOGGED_MAX = 5;

export interface BarReportOptions {
  env: Env;
  meter: Meter;
  run: JobRun;
  windowMs: number;
}

/** Metrics and log lines of the micro-batcher: its transactions, and events that are in no bar. */
export class BarReport {
  readonly #options: BarReportOptions;
  readonly #labels = new SymbolLabels();
  readonly #windowMs: string;
  /** bar events that no window can hold */
  readonly unfit: UnfitCandles;

  constructor(options: BarReportOptions) {
    this.#options = options;
    this.#windowMs = `${options.windowMs}`;
    this.unfit = new UnfitCandles(options.env, options.windowMs);
  }

  committed(step: Step, result: StepResult, durationMs: number): void {
    const { env, meter, run } = this.#options;
    const nowUs = Number(env.clock.nowMicros());
    for (const [at, { symbol, startUs }] of step.windows.entries()) {
      const labels = { window_ms: this.#windowMs, symbol: this.#labels.of(symbol) };
      meter.count('microbatch_flush_total', labels);
      run.saw(symbol, BigInt(startUs));
      // a producer's clock may be ahead of ours
      meter.observe('microbatch_window_latency_ms', {}, Math.max(0, nowUs - step.oldestIngestUs[at]) / 1000);
    }
    this.#written(result.written, durationMs);
    this.#logRevised(result.corrected);
    if (step.dropped > 0) meter.count('microbatch_late_total', { policy: 'drop' }, step.dropped);
    if (step.windows.length === 0) return;
    env.log('info', 'MicroBatcher wrote bars', {
      windows: step.windows.length,
      rows: result.written,
      events: step.events,
      duration_ms: Math.round(durationMs * 10) / 10,
    });
  }

  revised({ windows, rollups }: Revision, durationMs: number): void {
    const { meter } = this.#options;
    meter.count('microbatch_revisions_total', {}, windows.length);
    this.#written(windows.length + rollups.length, durationMs);
    this.#logRevised(windows);
  }

  altered(event: MarketEvent): void {
    countAltered(this.#options.meter, COMPONENT, [event]);
  }

  /** Outcomes of events, where they are counted. */
  judged(outcome: EventOutcome, count: number): void {
    const { meter } = this.#options;
    if (outcome === 'marked') meter.count('microbatch_late_total', { policy: 'revise' }, count);
    else if (outcome === 'late') meter.count('microbatch_late_total', { policy: 'dlq' }, count);
    else if (outcome === 'contested') meter.count('microbatch_contested_total', {}, count);
    else if (outcome === 'repeat') meter.count('microbatch_repeats_total', {}, count);
    else if (outcome === 'too_long' || outcome === 'straddles') this.skipped(outcome, count);
  }

  skipped(reason: string, count: number): void {
    if (count > 0) this.#options.meter.count('microbatch_skipped_total', { reason }, count);
  }

  /** They have been published to mdp.events.dlq. */
  deadLettered(refused: readonly RefusedRecord[]): void {
    const { env, meter } = this.#options;
    for (const { reason } of refused) meter.count('errors_total', { component: COMPONENT, reason });
    for (const { reason, detail, topic, msgId } of refused.slice(0, LOGGED_MAX)) {
      env.log('warn', 'MicroBatcher put an event aside', { topic, msg_id: msgId, reason, detail });
    }
  }

  lost(count: number, fields: Record<string, unknown>): void {
    const { env, meter } = this.#options;
    meter.count('errors_total', { component: COMPONENT, reason: 'body_lost' }, count);
    env.log('error', 'MicroBatcher: entries of open windows are not on the bus any more', {
      count,
      ...fields,
    });
  }

  #written(rows: number, durationMs: number): void {
    const { meter, run } = this.#options;
    if (rows === 0) return;
    run.wrote(rows);
    meter.count('microbatch_flush_rows', { window_ms: this.#windowMs }, rows);
    meter.observe('store_write_duration_seconds', { table: 'bars_ohlcv' }, durationMs / 1000);
    meter.observe('store_bars_write_latency_seconds', {}, durationMs / 1000);
  }

  #logRevised(changed: readonly ChangedBar[]): void {
    for (const { row, revision } of changed.slice(0, LOGGED_MAX)) {
      this.#options.env.log('info', 'MicroBatcher revised a bar', {
        provider: row.provider,
        symbol: row.symbol,
        interval: intervalName(row.intervalMs),
        ts: formatMicros(BigInt(row.startUs)),
        revision,
        ticks: row.bar.tickCount,
      });
    }
    if (changed.length > LOGGED_MAX)
      this.#options.env.log('info', 'MicroBatcher revised more bars', { count: changed.length - LOGGED_MAX });
  }
}
