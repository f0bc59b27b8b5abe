/** How to react to a message of TWS; decided by its code, never by its text. */
export type TwsVerdict =
  /** something works, or works again, or our own cancel came too late */
  | 'good'
  /** worth a line in the log, nothing to do: the request that it names goes on */
  | 'notice'
  /** TWS lost its connection to Interactive Brokers; the socket stays open, data stops */
  | 'upstream_lost'
  /** the connection is back, the subscriptions are lost */
  | 'upstream_back_empty'
  /** the connection is back with its subscriptions */
  | 'upstream_back'
  /** one of the servers that market data comes from is away: what it sent stops */
  | 'farm_lost'
  /** it is there, or there again; subscriptions may not have survived */
  | 'farm_back'
  /** this connection has ended or is unusable: reconnect later */
  | 'reconnect'
  /** too many requests per second: repeat the request, more slowly */
  | 'pacing'
  /** no more tick-by-tick subscriptions: the instrument gets its trades from a market data line instead */
  | 'tick_limit'
  /** no market data line left, or not permitted for this account, or another session has it: retry later */
  | 'denied'
  /** no such instrument, or the symbol is ambiguous; TWS says so of any in its nightly maintenance: retry later */
  | 'no_contract'
  /** an unknown failure of one request: retry later */
  | 'other';

const CODES: Readonly<Record<number, TwsVerdict>> = {
  100: 'pacing', // max rate of messages per second has been exceeded
  101: 'denied', // max number of tickers has been reached
  200: 'no_contract', // no security definition has been found
  203: 'no_contract', // the security is not available or allowed for this account
  300: 'good', // can't find the id of a subscription that is cancelled
  326: 'reconnect', // the client id is already in use
  354: 'denied', // requested market data is not subscribed
  420: 'pacing', // invalid real-time query: pacing violation
  502: 'reconnect', // couldn't connect to TWS
  503: 'reconnect', // TWS is out of date
  504: 'reconnect', // not connected
  506: 'reconnect', // unsupported version
  507: 'reconnect', // bad message length
  1100: 'upstream_lost',
  1101: 'upstream_back_empty',
  1102: 'upstream_back',
  1300: 'reconnect', // the socket port was reset
  2103: 'farm_lost',
  2104: 'farm_back', // also at the start, for each
  2106: 'good', // a historical data farm is connected
  2107: 'good', // a historical data farm is inactive
  2108: 'good', // a market data farm is inactive and available upon demand
  2110: 'upstream_lost', // it will be restored automatically
  2119: 'good', // a farm is connecting
  2158: 'good', // the farm of definitions is connected
  10089: 'denied', // needs additional subscription
  10090: 'notice', // part of the data is not subscribed, the other ticks come
  10091: 'notice', // part of the data needs additional subscription, the other ticks come
  10167: 'notice', // delayed data instead
  10168: 'denied', // not subscribed, delayed data is not enabled
  10186: 'denied', // not subscribed, delayed data is not available
  10187: 'tick_limit', // failed to request historical ticks
  10189: 'tick_limit', // failed to request tick-by-tick data
  10190: 'tick_limit', // max number of tick-by-tick requests has been reached
  10197: 'denied', // no market data during a competing live session
  10225: 'denied', // the subscription is deactivated: subscribe again
};

/** Of the codes from 2100 to 2999 TWS says that they are warnings. */
export function twsVerdict(code: number): TwsVerdict {
  return CODES[code] ?? (code >= 2100 && code < 3000 ? 'notice' : 'other');
}
