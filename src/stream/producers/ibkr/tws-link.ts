import type { Socket } from 'node:net';
import { EventName, IBApi, IBApiTickType, SecType, TickByTickDataType, type Contract } from '@stoqey/ib';
import { secondsToMicros } from './instrument.ts';

export interface TwsAddress {
  host: string;
  port: number;
  clientId: number;
}

/** Callbacks for what TWS sends, with the number of the request it answers. */
export interface TwsEvents {
  /** requests may be sent from now on */
  ready: () => void;
  contract: (request: number, contract: Contract) => void;
  contractsEnd: (request: number) => void;
  /** `micros` null: TWS sent no time */
  trade: (request: number, micros: bigint | null, price: number, size: number | null) => void;
  bid: (request: number, price: number | undefined) => void;
  ask: (request: number, price: number | undefined) => void;
  /** generic tick 233 of a market data line (parseRtVolume) */
  rtVolume: (request: number, text: string) => void;
  /** request −1: it belongs to no request */
  message: (code: number, text: string, request: number) => void;
  /** anything was received */
  heard: () => void;
  closed: () => void;
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
    ib.on(EventName.contractDetails, (request, { contract }) => events.contract(request, contract));
    ib.on(EventName.contractDetailsEnd, (request) => events.contractsEnd(request));
    ib.on(EventName.tickByTickAllLast, (request, _type, time, price, size) =>
      events.trade(request, secondsToMicros(time), price, size ?? null),
    );
    ib.on(EventName.tickByTickBidAsk, (request, _time, bid, ask) => {
      events.bid(request, bid);
      events.ask(request, ask);
    });
    ib.on(EventName.tickPrice, (request, field, price) => {
      if (field === IBApiTickType.BID) events.bid(request, price);
      if (field === IBApiTickType.ASK) events.ask(request, price);
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

  /** Stock symbols as traded in US dollars through SMART; a dot stands for Interactive Brokers' blank: BRK.B. */
  askContract(request: number, symbol: string): void {
    const contract = {
      symbol: symbol.replaceAll('.', ' '),
      secType: SecType.STK,
      exchange: 'SMART',
      currency: 'USD',
    };
    this.#ib.reqContractDetails(request, contract);
  }

  subscribeTrades(request: number, contract: Contract): void {
    this.#ib.reqTickByTickData(request, contract, TickByTickDataType.Last, 0, false);
  }

  subscribeQuotes(request: number, contract: Contract): void {
    this.#ib.reqTickByTickData(request, contract, TickByTickDataType.BidAsk, 0, true);
  }

  /** A market data line: quotes a few times a second, and trades by RTVolume. */
  subscribeLine(request: number, contract: Contract): void {
    this.#ib.reqMktData(request, contract, RT_VOLUME, false, false);
  }

  /** Sends a request that TWS must answer. */
  probe(): void {
    this.#ib.reqCurrentTime();
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
