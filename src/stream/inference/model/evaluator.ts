import { envOf, type Env } from '../../../core/env.ts';
import type { FeatureRow, Signal } from '../../../core/signal/signal.ts';
import { NO_METER, type Meter } from '../../meter.ts';
import type { Evaluator, Facts } from '../../signals/evaluator.ts';
import { Breaker, BreakerOpen, type BreakerState } from './breaker.ts';
import type { ModelPool, Prediction } from './pool.ts';
import { PredictionError } from './prediction.ts';

export interface ModelEvaluatorOptions {
  adapter: 'onnx' | 'sklearn';
  pool: ModelPool;
  /** judges all rows while the model gives no predictions; null: then there are no signals */
  fallback: Evaluator | null;
  /** how long the model is left alone when half of its calls failed, ms */
  resetMs?: number;
  /** length of the windows at whose ends rows are taken, ms: about the time between two calls */
  windowMs?: number;
  /** the same for the signals: `2s` */
  window: string;
  meter?: Meter;
  env?: Partial<Env>;
}

export const DEFAULT_RESET_MS = 10_000;
const DEFAULT_WINDOW_MS = 2_000;
/** over which calls are counted, ms: at least */
const ROLLING_MS_MIN = 10_000;
/** of calls that the breaker looks back on, at least */
const CALLS_SEEN = 5;
/** values of model_breaker_state */
const STATES: Readonly<Record<BreakerState, number>> = { closed: 0, half_open: 1, open: 2 };

/**
 * Signals of a model: one for each row that has all its features. Rows go to the fallback instead while the model fails, and while
 * the breaker leaves it alone; never to both. It owns the pool and the fallback, and looks at the model's files until close().
 */
export class ModelEvaluator implements Evaluator {
  readonly adapter: 'onnx' | 'sklearn';
  readonly #options: ModelEvaluatorOptions;
  readonly #pool: ModelPool;
  readonly #breaker: Breaker<readonly FeatureRow[], (Prediction | null)[]>;
  readonly #meter: Meter;
  readonly #env: Env;
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  constructor(options: ModelEvaluatorOptions) {
    const { adapter, pool, resetMs = DEFAULT_RESET_MS, windowMs = DEFAULT_WINDOW_MS } = options;
    this.adapter = adapter;
    this.#options = options;
    this.#pool = pool;
    this.#meter = options.meter ?? NO_METER;
    this.#env = envOf(options.env);
    this.#breaker = new Breaker((rows: readonly FeatureRow[]) => pool.predict(rows), {
      resetMs,
      rollingMs: Math.max(ROLLING_MS_MIN, CALLS_SEEN * windowMs),
      changed: (state) => this.#changed(state),
    });
    this.#meter.set('model_breaker_state', { adapter }, STATES.closed);
    this.#watching = pool.watch(this.#closing.signal);
  }

  get breaker(): BreakerState {
    return this.#breaker.state;
  }

  /** In the order of the rows. */
  async evaluate(rows: readonly FeatureRow[], facts: Facts): Promise<readonly Signal[]> {
    // a call without a warm row would tell the breaker nothing of the model
    const warm = rows.filter((row) => this.#pool.isWarm(row));
    if (warm.length === 0) {
      if (this.breaker !== 'closed') return this.#fallBack(rows, facts);
      this.#count('cold', rows.length);
      return [];
    }
    let predictions: (Prediction | null)[];
    try {
      predictions = await this.#breaker.fire(warm);
    } catch (error) {
      this.#failed(error);
      return this.#fallBack(rows, facts);
    }
    const signals: Signal[] = [];
    for (const [at, prediction] of predictions.entries()) {
      // cold for a model that was read again meanwhile
      if (prediction === null) continue;
      const { value, score, model } = prediction;
      const { runId, provider, symbol, tsUs, price } = warm[at];
      const { window } = this.#options;
      const said = { name: model.name, value, score, window, price, modelVersion: model.version };
      signals.push({ runId, provider, symbol, tsUs, ...said });
    }
    this.#count('predicted', signals.length);
    this.#count('cold', rows.length - signals.length);
    return signals;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#breaker.stop();
    this.#pool.stop();
    await this.#watching;
    await this.#options.fallback?.close?.();
  }

  #fallBack(rows: readonly FeatureRow[], facts: Facts): ReturnType<Evaluator['evaluate']> {
    this.#count('fallback', rows.length);
    return this.#options.fallback?.evaluate(rows, facts) ?? [];
  }

  #failed(error: unknown): void {
    if (error instanceof BreakerOpen) return;
    const reason = error instanceof PredictionError ? error.kind : 'threw';
    this.#meter.count('model_failures_total', { adapter: this.adapter, reason });
    this.#env.log('warn', 'The model gave no prediction: the rules take over', { reason, err: error });
  }

  #changed(state: BreakerState): void {
    this.#meter.set('model_breaker_state', { adapter: this.adapter }, STATES[state]);
    const said = {
      open: 'The model failed too often and is left alone: the rules take over',
      half_open: 'The model is tried again',
      closed: 'The model predicts again',
    }[state];
    this.#env.log(state === 'open' ? 'error' : 'info', said, {});
  }

  #count(outcome: 'predicted' | 'cold' | 'fallback', rows: number): void {
    this.#meter.count('model_rows_total', { adapter: this.adapter, outcome }, rows);
  }
}
