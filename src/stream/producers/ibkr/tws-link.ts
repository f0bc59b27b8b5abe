import type { Socket } from 'node:net';
import { EventName, IBApi, IBApiTickType, SecType, TickByTickDataType, type Contract } from '@stoqey/ib';
import { secondsToMicros } from './instrument.ts';

export interface TwsAddress {
  host: string;
  port: number;
  clientId: number;
}

/** What TWS tells of, by the number of the request that it answers. */
export interface TwsEvents {
  /** requests may be sent from now on */
  ready: () => void;
  contract: (request: number, contract: Contract) => void;
  contractsEnd: (request: number) => void;
  /** `micros` null: TWS named no time */
  trade: (request: number, micros: bigint | null, price: number, size: number | null) => void;
  bid: (request: number, price: number | undefined) => void;
  ask: (request: number, price: number | undefined) => void;
  /** generic tick 233 of a market data line (parseRtVolume) */
  rtVolume: (request: number, text: string) => void;
  /** request −1: it belongs to none */
  message: (code: number, text: string, request: number) => void;
  /** anything at all came */
  heard: () => void;
  closed: () => void;
}

const NO_REQUEST = -1;
/** Above our own pacing: the package's limiter must never be the one that waits, it goes on after a disconnect. */
const PACKAGE_REQUESTS_PER_SECOND = 1_000;
/** Generic tick: RTVolume, the trades of a market data line. */
const RT_VOLUME = '233';

/** One connection to TWS or IB Gateway, for the few calls that are made here. Never used again after it closed. */
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

  /** Nothing is told any more. */
  close(): void {
    this.#ib.removeAllListeners();
    // what the package still tries to write fails, and an error that nobody listens to ends the process
    this.#ib.on(EventName.error, () => {});
    this.#ib.disconnect();
  }

  /** Stock symbols as traded in US dollars through SMART; a dot is Interactive Brokers' blank: BRK.B. */
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

  /** Something that has to be answered. */
  probe(): void {
    this.#ib.reqCurrentTime();
  }

  /** Nothing more is read from the socket until resume(): TWS has to wait. */
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
