import type { SymbolState } from '../../core/signal/partition-rows.ts';
import type { FeatureRow } from '../../core/signal/signal.ts';

/** What one transaction covers. */
export interface SignalStep {
  rows: readonly FeatureRow[];
  /** the last entry taken */
  position: string;
  /** entries that it covers */
  entries: number;
  /** of symbols as they are behind `position`; null: it makes no checkpoint */
  states: readonly Omit<SymbolState, 'facts'>[] | null;
}
