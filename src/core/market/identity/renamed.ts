import type { MarketEvent } from '../event.ts';
import { rulesOf, symbolOf, type Providers } from './providers.ts';

/**
 * The event under the symbol that the rules of its provider give it, as consumers will know it: its key then leads to the
 * right partition at once. One that the rules refuse stays as it is, and becomes a dead letter where it is consumed.
 */
export function renamed(event: MarketEvent, providers: Providers): MarketEvent {
  const { provider, symbol, eventId } = event;
  const name = symbolOf(symbol, rulesOf(providers, provider));
  if (name === symbol || typeof name !== 'string') return event;
  return {
    ...event,
    symbol: name,
    eventId: `${provider}|${name}${eventId.slice(provider.length + 1 + symbol.length)}`,
  };
}
