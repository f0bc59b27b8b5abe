import type { LogLine } from '../../core/env.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import { intervalName } from '../../core/market/interval.ts';
import type { Fate } from '../../core/window/rules.ts';
import type { Step } from '../../core/window/step.ts';
import { formatMicros, type Clock } from '../../core/time.ts';
import type { ChangedBar } from '../../store/bars/rows.ts';
import type { Revision } from '../../store/bars/revise.ts';
import type { StepResult } from '../../store/bars/commit-step.ts';
import { SymbolLabels, type Meter } from '../meter.ts';
import type { RunBook } from '../job-run.ts';

const COMPONENT = 'micro_batch';
/** log lines for the corrections of one transaction */
const SAID_MAX = 5;

export interface BarRunOptions {
  windowMs: number;
  book: RunBook;
  meter: Meter;
  log: LogLine;
  clock: Clock;
}

/** What the micro-batcher measures and says. */
export class BarRun {
  readonly #options: BarRunOptions;
  readonly #labels = new SymbolLabels();
  readonly #windowMs: string;

  constructor(options: BarRunOptions) {
    this.#options = options;
    this.#windowMs = `${options.windowMs}`;
  }

  committed(step: Step, result: StepResult, durationMs: number): void {
    const { meter, log, clock, book } = this.#options;
    const nowUs = Number(clock.nowMicros());
    for (const [at, { symbol, startUs }] of step.windows.entries()) {
      const labels = { window_ms: this.#windowMs, symbol: this.#labels.of(symbol) };
      meter.count('microbatch_flush_total', labels);
      book.saw(symbol, BigInt(startUs));
      meter.observe('microbatch_window_latency_ms', {}, (nowUs - step.oldestIngestUs[at]) / 1000);
    }
    this.#written(result.written, durationMs);
    this.#say(result.corrected);
    if (step.dropped > 0) meter.count('microbatch_late_total', { policy: 'drop' }, step.dropped);
    if (step.windows.length === 0) return;
    log('info', 'MicroBatcher wrote bars', {
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
    this.#say(windows);
  }

  /** What became of an event, where that is to be counted. */
  judged(fate: Fate, count = 1): void {
    const { meter } = this.#options;
    if (fate === 'marked') meter.count('microbatch_late_total', { policy: 'revise' }, count);
    else if (fate === 'late') meter.count('microbatch_late_total', { policy: 'dlq' }, count);
    else if (fate === 'repeat') meter.count('microbatch_repeats_total', {}, count);
    else if (fate === 'too_long' || fate === 'straddles') this.skipped(fate, count);
  }

  skipped(reason: string, count: number): void {
    if (count > 0) this.#options.meter.count('microbatch_skipped_total', { reason }, count);
  }

  putAside(letters: readonly RefusedRecord[]): void {
    const { meter, log } = this.#options;
    for (const { reason } of letters) meter.count('errors_total', { component: COMPONENT, reason });
    for (const { reason, detail, topic, msgId } of letters.slice(0, SAID_MAX)) {
      log('warn', 'MicroBatcher put an event aside', { topic, msg_id: msgId, reason, detail });
    }
  }

  lost(count: number, fields: Record<string, unknown>): void {
    const { meter, log } = this.#options;
    meter.count('errors_total', { component: COMPONENT, reason: 'body_lost' }, count);
    log('error', 'MicroBatcher: entries of open windows are not on the bus any more', { count, ...fields });
  }

  retried(component: 'bus' | 'database', error: Error, waitMs: number): void {
    const { meter, log } = this.#options;
    meter.count('retries_total', { component: `${COMPONENT}_${component}` });
    log('warn', `MicroBatcher: no answer from the ${component} (will try again)`, {
      err: error,
      retry_ms: waitMs,
    });
  }

  #written(rows: number, durationMs: number): void {
    const { meter, book } = this.#options;
    if (rows === 0) return;
    book.wrote(rows);
    meter.count('microbatch_flush_rows', { window_ms: this.#windowMs }, rows);
    meter.observe('store_write_duration_seconds', { table: 'bars_ohlcv' }, durationMs / 1000);
    meter.observe('store_bars_write_latency_seconds', {}, durationMs / 1000);
  }

  #say(changed: readonly ChangedBar[]): void {
    for (const { row, revision } of changed.slice(0, SAID_MAX)) {
      this.#options.log('info', 'MicroBatcher revised a bar', {
        provider: row.provider,
        symbol: row.symbol,
        interval: intervalName(row.intervalMs),
        ts: formatMicros(BigInt(row.startUs)),
        revision,
        ticks: row.bar.tickCount,
      });
    }
    if (changed.length > SAID_MAX)
      this.#options.log('info', 'MicroBatcher revised more bars', { count: changed.length - SAID_MAX });
  }
}
