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
