/** producers.ibkr.contracts: the instruments of Interactive Brokers that are no US stocks, in the words of its API. */
import { z } from 'zod';
import { upperCased } from '../../../core/market/identity/symbol.ts';
import { SEC_TYPES, type ContractSpec, type SecType } from '../../../stream/producers/ibkr/contract.ts';

const text = z.string('must be text: put it in quotes').min(1).max(100);
const expiry = z
  .union([z.string(), z.int()])
  .transform(String)
  .pipe(z.string().regex(/^\d{6}(\d\d)?$/, 'must be YYYYMM or YYYYMMDD'));
const RIGHTS = { C: 'C', CALL: 'C', P: 'P', PUT: 'P' } as const;

/** Where TWS finds the best exchange itself. */
const SMART: ReadonlySet<SecType> = new Set(['STK', 'OPT', 'WAR', 'CFD']);
const DATED: ReadonlySet<SecType> = new Set(['FUT', 'OPT', 'FOP', 'WAR']);
const WITH_STRIKE: ReadonlySet<SecType> = new Set(['OPT', 'FOP']);

/** @param name of the symbols of events */
export function contractList(name: z.ZodType<string>) {
  const contract = z.strictObject({
    name: name.optional(),
    symbol: text.optional(),
    secType: z.enum(SEC_TYPES).optional(),
    exchange: text.optional(),
    currency: text.optional(),
    conId: z.int().min(1).max(2_147_483_647).optional(),
    expiry: expiry.optional(),
    strike: z.number().positive().optional(),
    right: z
      .enum(['C', 'CALL', 'P', 'PUT'])
      .transform((word) => RIGHTS[word])
      .optional(),
    multiplier: z.number().positive().optional(),
    primaryExchange: text.optional(),
    localSymbol: text.optional(),
    tradingClass: text.optional(),
  });
  return z
    .array(contract.superRefine((given, context) => addIssues(given, context)).transform(specOf))
    .max(10_000)
    .default([]);
}

type Given = { [Key in keyof ContractSpec]?: ContractSpec[Key] | undefined };

function addIssues(given: Given, context: z.RefinementCtx): void {
  const needs = (what: string): void =>
    context.addIssue({ code: 'custom', message: `needs ${what}`, continue: false });
  const { conId, localSymbol, symbol, expiry, strike, right } = given;
  const secType = given.secType ?? 'STK';
  if (given.name === undefined && symbol === undefined) needs('name, the symbol of its events');
  if (conId !== undefined) return;
  if (symbol === undefined && localSymbol === undefined) needs('symbol, localSymbol or conId');
  if (given.exchange === undefined && !SMART.has(secType)) {
    needs('exchange, such as CME, IDEALPRO or PAXOS');
  }
  if (given.currency === undefined) needs('currency, such as USD');
  if (localSymbol !== undefined) return;
  if (expiry === undefined && DATED.has(secType)) needs('expiry, such as "202612"');
  if ((strike === undefined || right === undefined) && WITH_STRIKE.has(secType)) needs('strike and right');
}

/** What is not said: a stock, by SMART, its events named as TWS names it, with a dot for the blank. */
function specOf(given: Given): ContractSpec {
  const { conId, secType, symbol = '' } = given;
  return {
    ...given,
    name: given.name ?? symbol.replaceAll(' ', '.'),
    exchange: given.exchange ?? 'SMART',
    ...(conId === undefined ? { secType: secType ?? 'STK' } : {}),
  };
}

/** US stocks where neither they nor contracts are named. */
const SYMBOLS: string[] = ['SPY'];

/** The default of symbols depends on whether there are contracts; and events are told apart by their symbols. */
export function withSymbols<T extends { symbols?: string[] | undefined; contracts: ContractSpec[] }>(
  given: T,
  context: z.RefinementCtx,
): T & { symbols: string[] } {
  const symbols = given.symbols ?? (given.contracts.length === 0 ? SYMBOLS : []);
  const taken = new Set(symbols.map(upperCased));
  for (const [at, { name }] of given.contracts.entries()) {
    const problem = `has the symbol ${name}, which is taken: each needs a name of its own`;
    if (taken.has(upperCased(name))) {
      context.addIssue({ code: 'custom', path: ['contracts', at], message: problem });
    }
    taken.add(upperCased(name));
  }
  return { ...given, symbols };
}
