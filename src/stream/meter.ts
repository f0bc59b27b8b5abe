export type Labels = Readonly<Record<string, string>>;

/** Where stages report their metrics; names and labels as in the metrics table in src/run. */
export interface Meter {
  /** counters: `by` defaults to 1 */
  count(name: string, labels: Labels, by?: number): void;
  /** gauges */
  set(name: string, labels: Labels, value: number): void;
  /** histograms and summaries */
  observe(name: string, labels: Labels, value: number): void;
}

/** Discards all metrics. */
export const NO_METER: Meter = { count: () => {}, set: () => {}, observe: () => {} };

/** Series of a metric are never dropped: only this many symbols get one of their own. */
const SYMBOLS_MAX = 200;
const OTHER = '_other';

/** Values of the label `symbol`: the first 200 symbols by name, all others share one. */
export class SymbolLabels {
  readonly #known = new Set<string>();

  of(symbol: string): string {
    if (this.#known.has(symbol)) return symbol;
    if (this.#known.size >= SYMBOLS_MAX) return OTHER;
    this.#known.add(symbol);
    return symbol;
  }
}
