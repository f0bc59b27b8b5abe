import type { Client } from 'pg';
import type { Clock } from '../../core/time.ts';
import { providersOf } from './market-ticks.ts';

/** How long an answer is used again. */
const KEPT_MS = 5000;
/** Symbols whose providers are kept; beyond that the oldest is forgotten. */
const SYMBOLS_MAX = 10_000;

/**
 * The providers that have ticks of a symbol. On a hypertable each step of the search asks every chunk, so an answer is kept
 * for a few seconds; that there is none is not.
 */
export class ProviderNames {
  readonly #clock: Clock;
  readonly #known = new Map<string, { providers: string[]; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async of(client: Client, symbol: string): Promise<string[]> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known.get(symbol);
    if (known !== undefined && known.untilMs > nowMs) return known.providers;
    const providers = await providersOf(client, symbol);
    this.#known.delete(symbol);
    if (providers.length === 0) return providers;
    if (this.#known.size >= SYMBOLS_MAX) this.#known.delete(this.#known.keys().next().value ?? '');
    this.#known.set(symbol, { providers, untilMs: nowMs + KEPT_MS });
    return providers;
  }
}
