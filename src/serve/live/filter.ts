import { upperCased } from '../../core/market/identity/symbol.ts';
import type { Where } from '../../stream/where.ts';
import type { LiveEvent } from './event.ts';

export interface LiveFilter {
  /** null: all; as stored, so mostly in upper case */
  symbols: readonly string[] | null;
  provider: string | null;
  /** text and meaning of the CEL expression; null: none */
  where: { text: string; matches: Where } | null;
}

export const EVERYTHING: LiveFilter = { symbols: null, provider: null, where: null };

/** Equal for filters that let the same events pass: their subscribers share what is sent. */
export function filterKey({ symbols, provider, where }: LiveFilter): string {
  return JSON.stringify([
    symbols === null ? null : [...new Set(symbols)].sort(),
    provider,
    where?.text ?? null,
  ]);
}

export type Predicate = (event: LiveEvent) => boolean;

export function predicateOf({ symbols, provider, where }: LiveFilter): Predicate {
  const wanted = symbols === null ? null : new Set(symbols.flatMap((symbol) => [symbol, upperCased(symbol)]));
  return (event) =>
    (wanted === null || (event.symbol !== null && wanted.has(event.symbol))) &&
    (provider === null || event.provider === provider) &&
    (where === null || where.matches(event.fields()));
}

/** Names that the database is asked for. */
export function symbolNames({ symbols }: LiveFilter): string[] | null {
  return symbols === null ? null : [...new Set(symbols.flatMap((symbol) => [symbol, upperCased(symbol)]))];
}
