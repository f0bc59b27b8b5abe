import { upperCased } from '../../../core/market/identity/symbol.ts';

/** Types of instruments, by the names that TWS has for them. */
export const SEC_TYPES = ['STK', 'FUT', 'OPT', 'FOP', 'WAR', 'CASH', 'CRYPTO', 'CFD', 'CMDTY'] as const;

export type SecType = (typeof SEC_TYPES)[number];

/** An instrument as TWS is asked for it, in the terms of its API. */
export interface ContractSpec {
  /** symbol of the events */
  name: string;
  /** symbol of TWS: of the underlying for a future or an option, the base currency for forex */
  symbol?: string | undefined;
  secType?: SecType | undefined;
  exchange: string;
  currency?: string | undefined;
  /** the number that Interactive Brokers gave it: with `exchange` alone it names one instrument */
  conId?: number | undefined;
  /** YYYYMM or YYYYMMDD */
  expiry?: string | undefined;
  strike?: number | undefined;
  right?: 'C' | 'P' | undefined;
  multiplier?: number | undefined;
  primaryExchange?: string | undefined;
  localSymbol?: string | undefined;
  tradingClass?: string | undefined;
}

/** A US stock, found through SMART; a dot stands for Interactive Brokers' blank: BRK.B. */
export function usStock(symbol: string): ContractSpec {
  return {
    name: symbol,
    symbol: upperCased(symbol).replaceAll('.', ' '),
    secType: 'STK',
    exchange: 'SMART',
    currency: 'USD',
  };
}

export interface Traits {
  /** whether TWS sends it tick by tick; it refuses that for options */
  isTickByTick: boolean;
  /** mid: it has quotes and no reported trades, so an event is the middle of a quote */
  price: 'last' | 'mid';
  /** a price may be zero or below */
  mayBeNegative: boolean;
}

const TRADED: Traits = { isTickByTick: true, price: 'last', mayBeNegative: false };
const OPTION: Traits = { ...TRADED, isTickByTick: false };
const QUOTED: Traits = { ...TRADED, price: 'mid' };

const TRAITS: Readonly<Record<SecType, Traits>> = {
  STK: TRADED,
  CRYPTO: TRADED,
  FUT: { ...TRADED, mayBeNegative: true },
  OPT: OPTION,
  FOP: OPTION,
  WAR: OPTION,
  CASH: QUOTED,
  CFD: QUOTED,
  CMDTY: QUOTED,
};

/** A type that is not known is treated as a stock. */
export function traitsOf(secType: string | undefined): Traits {
  return TRAITS[secType as SecType] ?? TRADED;
}
