import type { Env } from '../../../core/env.ts';
import type { Contract } from '@stoqey/ib';
import { pause } from '../../../core/wait.ts';
import type { Meter } from '../../meter.ts';
import { twsVerdict, type TwsVerdict } from './codes.ts';
import { parseRtVolume, type Instrument, type TwsTrade } from './instrument.ts';
import { RequestPacer } from './request-pacer.ts';
import { TwsLink, type TwsAddress } from './tws-link.ts';

export interface TwsLimits {
  /** from connecting to the first usable request number, ms */
  connectMs: number;
  /** silence after which TWS is probed, and again as long until the connection is given up, ms */
  silentMs: number;
  /** between two tick-by-tick requests for one instrument, ms: TWS refuses more than one in 15 s */
  sameInstrumentMs: number;
  /** denied requests are retried after this, ms */
  deniedMs: number;
  /** pause in requests after a complaint about their rate, ms */
  holdMs: number;
  /** between two requests, ms */
  spacingMs: number;
}

export interface SessionHost {
  trade: (instrument: Instrument, trade: TwsTrade) => void;
  env: Env;
  meter: Meter;
}

export const COMPONENT = 'producer_ibkr';

type RequestKind = 'contract' | 'trades' | 'quotes' | 'line';

interface Subscription {
  readonly instrument: Instrument;
  /** null until TWS has resolved it */
  contract: Contract | null;
  found: Contract[];
  /** trades arrive tick by tick, so those on a market data line are duplicates */
  hasTrades: boolean;
  tickRequestMs: number;
}

interface Request {
  kind: RequestKind;
  subscription: Subscription;
}

export interface SessionEnd {
  why: string;
  /** the handshake had completed */
  wasReady: boolean;
}

type State = 'connecting' | 'heard' | 'quiet' | 'probed';

/**
 * One connection to TWS from handshake to end: finds each symbol's contract, then subscribes to its trades and quotes.
 *
 *   ready ─► contract ─► trades, tick by tick ─► (sameInstrumentMs) ─► quotes, tick by tick
 *                          │ limit reached: 10190 ─► market data line: quotes, and trades by RTVolume
 *                          └ denied ─► retried after deniedMs
 *
 *   state       event                       next
 *   connecting  TWS takes requests          heard
 *   connecting  connectMs are over          (ends)
 *   heard       silentMs are over           quiet
 *   quiet       silentMs are over           probed   a probe is sent
 *   probed      silentMs are over           (ends)
 *   any but connecting  a message of TWS    heard
 */
export class TwsSession {
  readonly #limits: TwsLimits;
  readonly #host: SessionHost;
  readonly #link: TwsLink;
  readonly #subscriptions: readonly Subscription[];
  readonly #requests = new Map<number, Request>();
  readonly #over = new AbortController();
  readonly #ended = Promise.withResolvers<string>();
  readonly #pacer: RequestPacer;
  #lastRequest = 0;
  #state: State = 'connecting';

  constructor(address: TwsAddress, instruments: readonly Instrument[], limits: TwsLimits, host: SessionHost) {
    this.#limits = limits;
    this.#host = host;
    this.#pacer = new RequestPacer(this.#over.signal, host.env.clock, limits.spacingMs);
    this.#subscriptions = instruments.map((instrument) => ({
      instrument,
      contract: null,
      found: [],
      hasTrades: false,
      tickRequestMs: -Infinity,
    }));
    this.#link = new TwsLink(address, {
      ready: () => this.#ready(),
      contract: (request, contract) => this.#of(request, 'contract')?.found.push(contract),
      contractsEnd: (request) => this.#named(request),
      trade: (request, micros, price, size) => {
        const subscription = this.#of(request, 'trades');
        if (subscription !== null)
          this.#trade(subscription, { micros: micros ?? host.env.clock.nowMicros(), price, size });
      },
      bid: (request, price) => this.#requests.get(request)?.subscription.instrument.bid(price),
      ask: (request, price) => this.#requests.get(request)?.subscription.instrument.ask(price),
      rtVolume: (request, text) => {
        const subscription = this.#of(request, 'line');
        const trade = subscription === null || subscription.hasTrades ? null : parseRtVolume(text);
        if (subscription !== null && trade !== null) this.#trade(subscription, trade);
      },
      message: (code, text, request) => this.#message(code, text, request),
      heard: () => {
        if (this.#state !== 'connecting') this.#state = 'heard';
      },
      closed: () => this.#end('TWS closed the connection'),
    });
  }

  /** Resolves when the connection has ended or `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<SessionEnd> {
    const stop = (): void => this.#end('stopped');
    signal.addEventListener('abort', stop);
    const watchdog = setInterval(() => this.#watch(), this.#limits.silentMs);
    const late = setTimeout(() => {
      if (this.#state === 'connecting') this.#end(`no handshake within ${this.#limits.connectMs} ms`);
    }, this.#limits.connectMs);
    if (signal.aborted) stop();
    else this.#link.connect();
    const why = await this.#ended.promise;
    signal.removeEventListener('abort', stop);
    clearInterval(watchdog);
    clearTimeout(late);
    this.#over.abort();
    this.#link.close();
    this.#forgetQuotes();
    return { why, wasReady: this.#state !== 'connecting' };
  }

  /** Stops reading the socket, so that TWS has to wait. */
  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  #end(why: string): void {
    this.#ended.resolve(why);
  }

  #watch(): void {
    if (this.#state === 'heard') this.#state = 'quiet';
    else if (this.#state === 'probed') this.#end(`TWS is silent for ${2 * this.#limits.silentMs} ms`);
    else if (this.#state === 'quiet') {
      this.#state = 'probed';
      void this.#pacer.send(() => this.#link.probe());
    }
  }

  #ready(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'heard';
    for (const subscription of this.#subscriptions) this.#request('contract', subscription);
  }

  #named(request: number): void {
    const subscription = this.#of(request, 'contract');
    if (subscription === null) return;
    this.#requests.delete(request);
    const { found, instrument } = subscription;
    const ids = [...new Set(found.map(({ conId }) => conId))];
    if (ids.length !== 1) {
      this.#complaint('no_contract');
      this.#host.env.log('error', 'A symbol is not one instrument: it is left out', {
        symbol: instrument.symbol,
        contracts: ids,
      });
      return;
    }
    subscription.contract = found[0];
    this.#subscribe(subscription);
  }

  #subscribe(subscription: Subscription): void {
    subscription.hasTrades = true;
    this.#request('trades', subscription);
    this.#request('quotes', subscription);
  }

  #request(kind: RequestKind, subscription: Subscription): void {
    const number = ++this.#lastRequest;
    this.#requests.set(number, { kind, subscription });
    void this.#send(number, kind, subscription);
  }

  async #send(number: number, kind: RequestKind, subscription: Subscription): Promise<void> {
    const { contract, instrument } = subscription;
    if (kind === 'trades' || kind === 'quotes') {
      const { clock } = this.#host.env;
      const dueMs = Math.max(clock.monotonicMs(), subscription.tickRequestMs + this.#limits.sameInstrumentMs);
      subscription.tickRequestMs = dueMs;
      await pause(dueMs - clock.monotonicMs(), this.#over.signal);
    }
    await this.#pacer.send(() => {
      // the request may have been dropped while it waited for its turn
      if (!this.#requests.has(number)) return;
      if (kind === 'contract') this.#link.askContract(number, instrument.symbol);
      if (contract === null) return;
      if (kind === 'trades') this.#link.subscribeTrades(number, contract);
      if (kind === 'quotes') this.#link.subscribeQuotes(number, contract);
      if (kind === 'line') this.#link.subscribeLine(number, contract);
    });
  }

  #trade({ instrument }: Subscription, trade: TwsTrade): void {
    this.#host.trade(instrument, trade);
  }

  #message(code: number, text: string, request: number): void {
    const verdict = twsVerdict(code);
    const failed = this.#requests.get(request);
    const symbol = failed?.subscription.instrument.symbol;
    if (verdict !== 'good') {
      if (verdict !== 'notice' && verdict !== 'upstream_back') this.#complaint(verdict);
      const fields = { code, text, ...(symbol === undefined ? {} : { symbol }) };
      this.#host.env.log('warn', 'TWS says', fields);
    }
    switch (verdict) {
      case 'good':
      case 'notice':
      case 'upstream_back':
        return;
      case 'upstream_lost':
        this.#forgetQuotes();
        return;
      case 'upstream_back_empty':
        this.#resubscribe();
        return;
      case 'reconnect':
        this.#end(`${code}: ${text}`);
        return;
      case 'pacing':
        this.#pacer.hold(this.#limits.holdMs);
        // without a known request there is nothing to repeat
        if (failed === undefined) this.#end(`${code}: ${text}`);
        else this.#again(request, failed, 0);
        return;
      case 'tick_limit':
        if (failed !== undefined) this.#useLine(request, failed);
        return;
      case 'denied':
      case 'other':
        if (failed !== undefined) this.#again(request, failed, this.#limits.deniedMs);
        return;
      case 'no_contract':
        this.#requests.delete(request);
        return;
    }
  }

  #complaint(verdict: TwsVerdict): void {
    this.#host.meter.count('errors_total', { component: COMPONENT, reason: `tws_${verdict}` });
  }

  #again(request: number, { kind, subscription }: Request, afterMs: number): void {
    this.#requests.delete(request);
    subscription.found = [];
    void pause(afterMs, this.#over.signal).then(() => {
      if (!this.#over.signal.aborted) this.#request(kind, subscription);
    });
  }

  /** One line carries both trades and quotes, whichever of the two was refused. */
  #useLine(request: number, { kind, subscription }: Request): void {
    this.#requests.delete(request);
    if (kind === 'trades') {
      subscription.hasTrades = false;
      for (const [number, other] of this.#requests) {
        if (other.subscription === subscription && other.kind === 'quotes') this.#requests.delete(number);
      }
    }
    const hasLine = [...this.#requests.values()].some(
      (other) => other.subscription === subscription && other.kind === 'line',
    );
    if (!hasLine) this.#request('line', subscription);
  }

  /** TWS has lost our subscriptions. */
  #resubscribe(): void {
    this.#forgetQuotes();
    for (const [number, { kind }] of this.#requests) if (kind !== 'contract') this.#requests.delete(number);
    for (const subscription of this.#subscriptions) {
      if (subscription.contract !== null) this.#subscribe(subscription);
    }
  }

  #forgetQuotes(): void {
    for (const { instrument } of this.#subscriptions) instrument.forgetQuote();
  }

  #of(request: number, kind: RequestKind): Subscription | null {
    const found = this.#requests.get(request);
    return found?.kind === kind ? found.subscription : null;
  }
}
