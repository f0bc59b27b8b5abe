import type { Series } from '../../core/replay/position.ts';
import { SymbolLabels, type Meter } from '../../stream/meter.ts';

/** What a run measures; its series go some time after the last of it. */
export class ReplayReport {
  readonly #meter: Meter;
  readonly #run: { run_id: string };
  readonly #labels: readonly { provider: string; symbol: string; run_id: string }[];
  readonly #counts: Float64Array;

  constructor(meter: Meter, runId: bigint, series: readonly Series[]) {
    this.#meter = meter;
    this.#run = { run_id: runId.toString() };
    const symbols = new SymbolLabels();
    this.#labels = series.map(({ provider, symbol }) => ({
      provider,
      symbol: symbols.of(symbol),
      ...this.#run,
    }));
    this.#counts = new Float64Array(series.length);
    for (const labels of this.#labels) meter.count('tick_replay_ticks_emitted_total', labels, 0);
    meter.count('tick_replay_errors_total', this.#run, 0);
    this.lag(0);
  }

  /** @param series number of each tick's provider and symbol */
  emitted(series: Int16Array, from: number, to: number): void {
    for (let row = from; row < to; row += 1) this.#counts[series[row]] += 1;
  }

  lag(ms: number): void {
    for (const [at, count] of this.#counts.entries())
      if (count > 0) this.#meter.count('tick_replay_ticks_emitted_total', this.#labels[at], count);
    this.#counts.fill(0);
    this.#meter.set('tick_replay_lag_ms', this.#run, ms);
  }

  failed(): void {
    this.#meter.count('tick_replay_errors_total', this.#run);
  }
}
