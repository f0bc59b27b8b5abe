import type { FeatureRow, Signal } from '../../core/signal/signal.ts';
import type { SymbolKey } from '../../core/window/step.ts';

/** What is remembered of a symbol between two looks: rules in mode edge that were true. It is part of the checkpoint. */
export interface Facts {
  get(key: SymbolKey): readonly string[];
  set(key: SymbolKey, facts: readonly string[]): void;
}

/** Turns looks at features into signals. */
export interface Evaluator {
  /** label of metrics: consumer, rules, onnx, sklearn */
  readonly adapter: string;
  /**
   * Rows in the order in which they were taken; signals in an order that depends on nothing else. Never rejects for what a row
   * or a model is to blame for: that is counted, and gives no signal.
   */
  evaluate(rows: readonly FeatureRow[], facts: Facts): readonly Signal[] | Promise<readonly Signal[]>;
  close?(): Promise<void>;
}
