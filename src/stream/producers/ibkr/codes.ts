/** What a message of TWS asks of us; decided by its code, never by its text. */
export type TwsVerdict =
  /** something is well, or well again */
  | 'good'
  /** worth a line in the log, nothing to do */
  | 'notice'
  /** TWS lost Interactive Brokers; the socket stays, data does not come */
  | 'upstream_lost'
  /** it is back, and what was subscribed is forgotten */
  | 'upstream_back_empty'
  /** it is back, and so is the data */
  | 'upstream_back'
  /** this connection is over or of no use: another one, later */
  | 'reconnect'
  /** too many requests a second: the request again, more slowly */
  | 'pacing'
  /** no further tick-by-tick subscription: the instrument gets its trades from a market data line instead */
  | 'tick_limit'
  /** no market data line left, or the account may not see this: the instrument again, much later */
  | 'denied'
  /** no such instrument, or not one of this name */
  | 'no_contract'
  /** a failure of one request that nobody foresaw: again, later */
  | 'other';

const CODES: Readonly<Record<number, TwsVerdict>> = {
  100: 'pacing', // max rate of messages per second has been exceeded
  101: 'denied', // max number of tickers has been reached
  200: 'no_contract', // no security definition has been found
  203: 'no_contract', // the security is not available or allowed for this account
  300: 'notice', // can't find the id of a subscription that is cancelled
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
  2103: 'notice', // a market data farm is disconnected
  2104: 'good',
  2105: 'notice', // a historical data farm is disconnected
  2106: 'good',
  2107: 'good',
  2108: 'good',
  2119: 'good', // a farm is connecting
  2157: 'notice',
  2158: 'good',
  10089: 'denied', // needs additional subscription
  10090: 'denied', // part of the data is not subscribed
  10168: 'denied', // not subscribed, delayed data is not enabled
  10186: 'denied', // not subscribed, delayed data is not available
  10187: 'tick_limit', // failed to request historical ticks
  10189: 'tick_limit', // failed to request tick-by-tick data
  10190: 'tick_limit', // max number of tick-by-tick requests has been reached
  10197: 'denied', // no market data during a competing live session
};

export function twsVerdict(code: number): TwsVerdict {
  return CODES[code] ?? 'other';
}
