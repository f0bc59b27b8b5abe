import type { Socket } from 'node:net';
import {
  EventName,
  IBApi,
  IBApiTickType,
  TickByTickDataType,
  type Contract,
  type ContractDetails,
} from '@stoqey/ib';
import type { ContractSpec, Traits } from './contract.ts';
import type { TwsQuote } from './instrument.ts';
import { secondsToMicros, type TwsTrade } from './values.ts';

export interface TwsAddress {
  host: string;
  port: number;
  clientId: number;
}

/** Callbacks for what TWS sends, with the number of the request it answers. */
export interface TwsEvents {
  /** requests may be sent from now on */
  ready: () => void;
  contract: (request: number, details: ContractDetails) => void;
  contractsEnd: (request: number) => void;
  trade: (request: number, trade: TwsTrade) => void;
  quote: (request: number, quote: TwsQuote) => void;
  /** generic tick 233 of a market data line (parseRtVolume) */
  rtVolume: (request: number, text: string) => void;
  /** request −1: it belongs to no request */
  message: (code: number, text: string, request: number) => void;
  /** anything was received */
  heard: () => void;
  closed: () => void;
}

/** What subscriptions name: TWS needs no more to know an instrument. */
export interface TwsContract {
  conId: number;
  exchange: string;
}

const NO_REQUEST = -1;
/** Above our own pacing: the package's limiter must never be what waits, as it keeps sending after a disconnect. */
const PACKAGE_REQUESTS_PER_SECOND = 1_000;
/** Generic tick: RTVolume, the trades of a market data line. */
const RT_VOLUME = '233';

/** One connection to TWS or IB Gateway, for the few calls needed here. Not reusable once closed. */
export class TwsLink {
  readonly #ib: IBApi;

  constructor({ host, port, clientId }: TwsAddress, events: TwsEvents) {
    const ib = new IBApi({ host, port, clientId, maxReqPerSec: PACKAGE_REQUESTS_PER_SECOND });
    this.#ib = ib;
    ib.on(EventName.nextValidId, () => events.ready());
    ib.on(EventName.contractDetails, (request, details) => events.contract(request, details));
    ib.on(EventName.contractDetailsEnd, (request) => events.contractsEnd(request));
    ib.on(EventName.tickByTickAllLast, (request, _type, time, price, size) =>
      events.trade(request, { micros: secondsToMicros(time), price, size }),
    );
    ib.on(EventName.tickByTickBidAsk, (request, time, bid, ask, bidSize, askSize) =>
      events.quote(request, {
        micros: secondsToMicros(time),
        bid: { price: bid, size: bidSize },
        ask: { price: ask, size: askSize },
      }),
    );
    ib.on(EventName.tickPrice, (request, field, price) => {
      if (field === IBApiTickType.BID) events.quote(request, { micros: null, bid: { price } });
      if (field === IBApiTickType.ASK) events.quote(request, { micros: null, ask: { price } });
    });
    ib.on(EventName.tickString, (request, field, value) => {
      if (field === IBApiTickType.RT_VOLUME) events.rtVolume(request, value);
    });
    ib.on(EventName.error, (error: Error, code: number, request: number) =>
      events.message(code, error.message, request),
    );
    ib.on(EventName.info, (text, code) => events.message(code, text, NO_REQUEST));
    ib.on(EventName.received, () => events.heard());
    ib.on(EventName.disconnected, () => events.closed());
  }

  connect(): void {
    this.#ib.connect();
  }

  /** No callback is called after this. */
  close(): void {
    this.#ib.removeAllListeners();
    // later writes by the package fail, and an error event without a listener would end the process
    this.#ib.on(EventName.error, () => {});
    this.#ib.disconnect();
  }

  askContract(request: number, spec: ContractSpec): void {
    const { name: _, expiry, primaryExchange, ...same } = spec;
    const contract = { ...same, lastTradeDateOrContractMonth: expiry, primaryExch: primaryExchange };
    // the package's enumerations are the words that TWS takes
    this.#ib.reqContractDetails(request, contract as Contract);
  }

  /**
   * Trades or quotes tick by tick; or a market data line: quotes a few times a second, and trades by RTVolume, which TWS
   * refuses for an instrument without trades.
   */
  subscribe(
    what: 'trades' | 'quotes' | 'line',
    request: number,
    contract: TwsContract,
    price: Traits['price'],
  ): void {
    const { Last, BidAsk } = TickByTickDataType;
    if (what === 'trades') this.#ib.reqTickByTickData(request, contract, Last, 0, false);
    if (what === 'quotes') this.#ib.reqTickByTickData(request, contract, BidAsk, 0, true);
    if (what === 'line') {
      this.#ib.reqMktData(request, contract, price === 'last' ? RT_VOLUME : '', false, false);
    }
  }

  cancel(what: 'trades' | 'quotes' | 'line', request: number): void {
    if (what === 'line') this.#ib.cancelMktData(request);
    else this.#ib.cancelTickByTickData(request);
  }

  /** Sends a request that TWS must answer. */
  probe(): true {
    this.#ib.reqCurrentTime();
    return true;
  }

  /** Stops reading the socket until resume(), so that TWS has to wait. */
  pause(): void {
    this.#socket()?.pause();
  }

  resume(): void {
    this.#socket()?.resume();
  }

  /** The package has no flow control of its own. */
  #socket(): Socket | undefined {
    return (this.#ib as unknown as { controller: { socket: { client?: Socket } } }).controller.socket.client;
  }
}
