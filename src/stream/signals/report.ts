import type { Env } from '../../core/env.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { Signal } from '../../core/signal/signal.ts';
import type { TickOutcome } from '../../core/signal/symbol-rows.ts';
import type { SymbolKey } from '../../core/window/step.ts';
import type { SignalResult } from '../../store/signals/write.ts';
import type { JobRun } from '../job-run.ts';
import { SymbolLabels, type Meter } from '../meter.ts';
import type { SignalStep } from './step.ts';

export interface SignalReportOptions {
  env: Env;
  meter: Meter;
  run: JobRun;
  /** label `component`, and the name in the log */
  component: string;
  name: string;
  /** names of signals whose series exist at 0 from the start */
  names: readonly string[];
  adapter: string;
  /** when features are looked at: `tick`, or the length of windows, `2s` */
  window: string;
}

/** Metrics and log lines of a stage that makes signals. */
export class SignalReport {
  readonly #options: SignalReportOptions;
  readonly #labels = new SymbolLabels();

  constructor(options: SignalReportOptions) {
    this.#options = options;
    const { meter, names, adapter } = options;
    for (const name of names) {
      meter.count('signals_emitted_total', { name, adapter }, 0);
      meter.count('signals_written_total', { name }, 0);
      meter.count('signals_write_failures_total', { name }, 0);
    }
  }

  /** Ticks whose features were brought up to date, and looked at. */
  updated(ticks: readonly TickEvent[], durationMs: number): void {
    const { meter, component, window } = this.#options;
    if (ticks.length === 0) return;
    meter.count('features_updates_total', { component }, ticks.length);
    const each = durationMs / 1000 / ticks.length;
    const symbols = new Set(ticks.map(({ symbol }) => this.#labels.of(symbol)));
    for (const symbol of symbols) meter.observe('features_update_duration_seconds', { symbol, window }, each);
  }

  evaluated(adapter: string, rows: number, signals: readonly Signal[], durationMs: number): void {
    const { meter } = this.#options;
    if (rows === 0) return;
    meter.observe('inference_eval_duration_seconds', { adapter }, durationMs / 1000 / rows);
    for (const [name, count] of counted(signals)) {
      meter.count('signals_emitted_total', { name, adapter }, count);
      meter.observe('signals_compute_duration_seconds', { name }, durationMs / 1000 / rows);
    }
  }

  stored(step: SignalStep, signals: readonly Signal[], result: SignalResult, durationMs: number): void {
    const { env, meter, run, name, component } = this.#options;
    for (const { symbol, tsUs } of signals) run.saw(symbol, BigInt(tsUs));
    run.wrote(result.stored);
    if (signals.length === 0) return;
    meter.observe('store_write_duration_seconds', { table: 'signals' }, durationMs / 1000);
    if (result.stored === signals.length)
      for (const [each, count] of counted(signals))
        meter.count('signals_written_total', { name: each }, count);
    else {
      meter.count('signals_repeated_total', { component }, signals.length - result.stored);
      if (result.differing.length > 0)
        meter.count('signals_differing_total', { component }, result.differing.length);
    }
    env.log('debug', `${name} wrote signals`, {
      rows: step.rows.length,
      signals: signals.length,
      stored: result.stored,
      entries: step.entries,
      duration_ms: Math.round(durationMs * 10) / 10,
    });
  }

  /** A transaction that did not take place; it is tried again. */
  failed(signals: readonly Signal[]): void {
    for (const [name, count] of counted(signals))
      this.#options.meter.count('signals_write_failures_total', { name }, count);
  }

  /** A tick that is in no feature, or a bar. */
  skipped(reason: Exclude<TickOutcome, 'applied' | 'unsure'> | 'bar', count = 1): void {
    if (count === 0) return;
    this.#options.meter.count(
      'features_skipped_total',
      { component: this.#options.component, reason },
      count,
    );
  }

  /** Malformed: the consumers that store it make it a dead letter. */
  refused(reason: string): void {
    this.#options.meter.count('errors_total', { component: this.#options.component, reason });
  }

  primed({ provider, symbol }: SymbolKey, ticks: number): void {
    const { env, name } = this.#options;
    env.log('info', `${name}: features of a symbol begin with what is stored`, { provider, symbol, ticks });
  }
}

function counted(signals: readonly Signal[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of signals) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
