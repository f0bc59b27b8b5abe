import type { Label } from '../../core/signal/history-rows.ts';
import type { FeatureRow, Signal } from '../../core/signal/signal.ts';
import type { Meter } from '../meter.ts';
import type { Evaluator, Facts } from '../signals/evaluator.ts';

export interface FollowedOptions {
  evaluator: Evaluator;
  /** the feature that was predicted, and how long after the row it is looked at: ret_30s@+60s */
  label: Label;
  /** the class of what followed; null: the prediction is of the number itself */
  classOf: (followed: number) => number | null;
  meter: Meter;
}

interface Waiting {
  name: string;
  value: number;
  dueUs: number;
}

/** predictions of one symbol that wait, at most: an hour of windows of half a second */
const WAITING_MAX = 7_200;

/**
 * Compares predictions of a model with what followed, as a metric: each at the row that is `label.afterUs` later. Where that window
 * had no tick nothing is compared, which is counted. What waits is forgotten at a restart.
 */
export class FollowedEvaluator implements Evaluator {
  readonly adapter: string;
  readonly #options: FollowedOptions;
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(options: FollowedOptions) {
    this.#options = options;
    this.adapter = options.evaluator.adapter;
    for (const outcome of ['right', 'wrong', 'unknown']) this.#count(outcome, 0);
  }

  async evaluate(rows: readonly FeatureRow[], facts: Facts): Promise<readonly Signal[]> {
    const signals = await this.#options.evaluator.evaluate(rows, facts);
    const predicted = signals.filter(({ modelVersion }) => modelVersion !== null);
    let at = 0;
    // both are in the order of the rows
    for (const row of rows) {
      this.#compare(row);
      for (; at < predicted.length && isOf(predicted[at], row); at += 1) this.#await(predicted[at]);
    }
    return signals;
  }

  close(): Promise<void> {
    return this.#options.evaluator.close?.() ?? Promise.resolve();
  }

  #await({ runId, provider, symbol, tsUs, name, value }: Signal): void {
    const key = `${runId}|${provider}|${symbol}`;
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.set(key, waiting);
    if (waiting.length >= WAITING_MAX) {
      waiting.shift();
      this.#count('unknown', 1);
    }
    waiting.push({ name, value, dueUs: tsUs + this.#options.label.afterUs });
  }

  #compare({ runId, provider, symbol, tsUs, values }: FeatureRow): void {
    const key = `${runId}|${provider}|${symbol}`;
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    let past = 0;
    while (past < waiting.length && waiting[past].dueUs < tsUs) past += 1;
    this.#count('unknown', past);
    let due = past;
    while (due < waiting.length && waiting[due].dueUs === tsUs) due += 1;
    const followed = values[this.#options.label.feature];
    for (const prediction of waiting.slice(past, due)) this.#judge(prediction, followed);
    waiting.splice(0, due);
    if (waiting.length === 0) this.#waiting.delete(key);
  }

  #judge({ name, value }: Waiting, followed: number): void {
    const { classOf, meter } = this.#options;
    if (Number.isNaN(followed)) {
      this.#count('unknown', 1);
      return;
    }
    const followedClass = classOf(followed);
    if (followedClass === null) meter.observe('model_absolute_error', { name }, Math.abs(value - followed));
    else this.#count(value === followedClass ? 'right' : 'wrong', 1);
  }

  #count(outcome: string, count: number): void {
    this.#options.meter.count('model_predictions_followed_total', { adapter: this.adapter, outcome }, count);
  }
}

function isOf(signal: Signal, row: FeatureRow): boolean {
  return (
    signal.tsUs === row.tsUs &&
    signal.symbol === row.symbol &&
    signal.provider === row.provider &&
    signal.runId === row.runId
  );
}
