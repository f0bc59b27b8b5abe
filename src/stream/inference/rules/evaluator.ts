import type { FeatureRow, Signal } from '../../../core/signal/signal.ts';
import { NO_METER, type Meter } from '../../meter.ts';
import type { Evaluator, Facts } from '../../signals/evaluator.ts';
import { RulesFile, type RulesFileOptions } from './rules-file.ts';

export interface RulesEvaluatorOptions extends RulesFileOptions {
  /** length of the windows at whose ends rows are taken, for the signals: `2s` */
  window: string;
}

/** The rules of a file as signals; the file is read again when it changes, until close(). */
export class RulesEvaluator implements Evaluator {
  readonly adapter = 'rules';
  readonly #file: RulesFile;
  readonly #window: string;
  readonly #meter: Meter;
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  private constructor(file: RulesFile, { window, meter = NO_METER }: RulesEvaluatorOptions) {
    this.#file = file;
    this.#window = window;
    this.#meter = meter;
    this.#watching = file.watch(this.#closing.signal);
  }

  /** @throws RulesError */
  static async open(options: RulesEvaluatorOptions): Promise<RulesEvaluator> {
    return new RulesEvaluator(await RulesFile.open(options), options);
  }

  /** of the signals that it can make */
  get names(): readonly string[] {
    return this.#file.rules.rules.map(({ name }) => name);
  }

  /** In the order of the rows, and of the rules in the file. The facts are the names of the edge rules that hold. */
  evaluate(rows: readonly FeatureRow[], facts: Facts): Signal[] {
    const { rules } = this.#file;
    const signals: Signal[] = [];
    for (const row of rows) {
      const held = facts.get(row);
      const evaluation = rules.evaluate(row, held);
      if (!isEqual(held, evaluation.held)) facts.set(row, evaluation.held);
      if (evaluation.failed.length > 0) {
        this.#meter.count(
          'errors_total',
          { component: 'inference', reason: 'rule_failed' },
          evaluation.failed.length,
        );
      }
      for (const { name, signal, score } of evaluation.fired) {
        const { runId, provider, symbol, tsUs, price } = row;
        const window = this.#window;
        signals.push({
          runId,
          provider,
          symbol,
          tsUs,
          name,
          value: signal,
          score,
          window,
          price,
          modelVersion: null,
        });
      }
    }
    return signals;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
  }
}

function isEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, at) => name === b[at]);
}
