import type { SymbolKey } from './step.ts';
import type { SymbolWindows } from './symbol-windows.ts';

/** The windows of each symbol, by run and provider, then by symbol: a lookup per event allocates no string. */
export class SymbolMap {
  readonly #symbols = new Map<string, Map<string, SymbolWindows>>();

  get(runId: bigint, provider: string, symbol: string): SymbolWindows | undefined {
    return this.#symbols.get(nameOf(runId, provider))?.get(symbol);
  }

  add({ runId, provider, symbol }: SymbolKey, windows: SymbolWindows): void {
    const name = nameOf(runId, provider);
    const known = this.#symbols.get(name);
    if (known === undefined) this.#symbols.set(name, new Map([[symbol, windows]]));
    else known.set(symbol, windows);
  }

  /** Those of live events. */
  *live(): Iterable<[SymbolWindows, SymbolKey]> {
    for (const [provider, symbols] of this.#symbols) {
      if (provider.includes('|')) continue; // a replay: provider names cannot contain |
      for (const [symbol, windows] of symbols) yield [windows, { runId: 0n, provider, symbol }];
    }
  }
}

function nameOf(runId: bigint, provider: string): string {
  return runId === 0n ? provider : `${provider}|${runId}`;
}
