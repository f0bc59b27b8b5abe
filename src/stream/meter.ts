export type Labels = Readonly<Record<string, string>>;

/** Where stages report their figures; names and labels as in the table of metrics of src/run. */
export interface Meter {
  /** counters: `by` defaults to 1 */
  count(name: string, labels: Labels, by?: number): void;
  /** gauges */
  set(name: string, labels: Labels, value: number): void;
  /** histograms and summaries */
  observe(name: string, labels: Labels, value: number): void;
}

/** For whoever measures nothing. */
export const NO_METER: Meter = { count: () => {}, set: () => {}, observe: () => {} };

/** Series of a metric are kept for ever: so many symbols have one of their own. */
const SYMBOLS_MAX = 200;
const OTHER = '_other';

/** Values of the label `symbol`: the first 200 symbols by their names, the others together. */
export class SymbolLabels {
  readonly #known = new Set<string>();

  of(symbol: string): string {
    if (this.#known.has(symbol)) return symbol;
    if (this.#known.size >= SYMBOLS_MAX) return OTHER;
    this.#known.add(symbol);
    return symbol;
  }
}
