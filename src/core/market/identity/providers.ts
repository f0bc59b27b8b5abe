import { refuse, shown, type Refusal } from '../refusal.ts';
import { symbolProblem, upperCased } from './symbol.ts';

/** What is declared of a provider whose feed needs it: an entry of `providers` in configs/streaming.yaml. */
export interface ProviderDeclaration {
  /** of a tick with neither seq nor trade_id: given (default): seq 0; content: a number made of its content */
  readonly identity?: 'given' | 'content' | undefined;
  /** of a symbol with letters a-z: upper (default): upper-cased; refuse: a dead letter, unless `symbols` maps it */
  readonly case?: 'upper' | 'refuse' | undefined;
  /** its symbols as it sends them, and under which they are stored */
  readonly symbols?: Readonly<Record<string, string>> | undefined;
}

/** By provider. All roles on a topic need the same ones: bars are recomputed from what the tick consumer stored. */
export type ProviderDeclarations = Readonly<Record<string, ProviderDeclaration>>;

/** A declaration, checked and with its defaults. */
export interface ProviderRules {
  readonly identity: 'given' | 'content';
  readonly case: 'upper' | 'refuse';
  readonly symbols: ReadonlyMap<string, string>;
}

export type Providers = ReadonlyMap<string, ProviderRules>;

/** Nothing is declared of any provider. */
export const NO_PROVIDERS: Providers = new Map();

const DEFAULT_RULES: ProviderRules = { identity: 'given', case: 'upper', symbols: new Map() };

/** @throws RangeError naming a provider and what is wrong with its symbols */
export function providersOf(declared: ProviderDeclarations = {}): Providers {
  return new Map(
    Object.entries(declared).map(([provider, declaration]) => {
      const { identity = 'given', case: cased = 'upper', symbols = {} } = declaration;
      const [mistake] = symbolMistakes(symbols);
      if (mistake !== undefined) throw new RangeError(`providers.${provider}.symbols: ${mistake.problem}`);
      return [provider, { identity, case: cased, symbols: new Map(Object.entries(symbols)) }];
    }),
  );
}

/** What is declared of a provider, and the defaults for the rest. */
export function rulesOf(providers: Providers, provider: string): ProviderRules {
  // most configurations declare nothing, and this is on the hot path
  return providers.size === 0 ? DEFAULT_RULES : (providers.get(provider) ?? DEFAULT_RULES);
}

/**
 * The symbol under which an event is stored: the one that its provider's rules map it to, else with a-z in upper case, as
 * the table demands.
 */
export function symbolOf(value: unknown, rules: ProviderRules): string | Refusal {
  if (value == null) return refuse('missing_symbol', 'no symbol');
  if (typeof value !== 'string') return refuse('bad_symbol', `symbol is ${shown(value)} and no text`);
  const problem = symbolProblem(value);
  if (problem !== null) return refuse('bad_symbol', `symbol ${shown(value)} ${problem}`);
  const mapped = rules.symbols.size === 0 ? undefined : rules.symbols.get(value);
  if (mapped !== undefined) return mapped;
  const symbol = upperCased(value);
  if (symbol === value || rules.case === 'upper') return symbol;
  const why = 'has lower-case letters and its provider is declared case: refuse; map it under symbols';
  return refuse('bad_symbol', `symbol ${JSON.stringify(value)} ${why}`);
}

/**
 * What is wrong with a map of symbols. An event may meet it twice, when a producer has mapped it or a stored tick is
 * replayed: where a name leads to, it must stay.
 */
export function symbolMistakes(
  symbols: Readonly<Record<string, string>>,
): { symbol: string; problem: string }[] {
  const names = new Map(Object.entries(symbols));
  return [...names].flatMap(([symbol, target]) => {
    const problem = problemOf(symbol, target, names);
    return problem === null ? [] : [{ symbol, problem }];
  });
}

function problemOf(symbol: string, target: string, names: ReadonlyMap<string, string>): string | null {
  for (const name of [symbol, target]) {
    const problem = symbolProblem(name);
    if (problem !== null) return `symbol ${shown(name)} ${problem}`;
  }
  if (upperCased(target) !== target) return `${symbol} is mapped to ${target}, which is not in upper case`;
  const further = names.get(target) ?? target;
  return further === target ? null : `${symbol} is mapped to ${target}, and that to ${further}`;
}
