import type { Env } from '../../../core/env.ts';
import { pause } from '../../../core/wait.ts';
import type { Meter } from '../../meter.ts';
import { twsVerdict, type TwsVerdict } from './codes.ts';
import type { FeedKind } from './feed.ts';
import type { Instrument, TwsQuote } from './instrument.ts';
import { RequestPacer } from './request-pacer.ts';
import { Subscription, type SubscriptionFeed, type SubscriptionLimits } from './subscription.ts';
import { TwsLink, type TwsAddress } from './tws-link.ts';
import { parseRtVolume, type TwsTrade } from './values.ts';
import { shareTimeAmongAddresses } from '../../../bus/addresses.ts';

export interface TwsLimits extends SubscriptionLimits {
  /** from connecting to the first usable request number, ms */
  connectMs: number;
  /** silence after which TWS is probed, and again as long until the connection is given up, ms */
  silentMs: number;
  /** after news that data is back: what comes back together is asked for once, ms */
  settleMs: number;
  /** pause in requests after a complaint about their rate, ms */
  holdMs: number;
  /** between two requests, ms */
  spacingMs: number;
}

export interface SessionHost {
  /** @returns false when it is no trade */
  trade: (instrument: Instrument, trade: TwsTrade) => boolean;
  quote: (instrument: Instrument, quote: TwsQuote) => void;
  env: Env;
  meter: Meter;
}

export const COMPONENT = 'producer_ibkr';

export interface SessionEnd {
  why: string;
  /** the handshake had completed */
  wasReady: boolean;
}

type State = 'connecting' | 'heard' | 'quiet' | 'probed';

/** how often silent feeds are looked for, in each `staleMs` */
const CHECKS_PER_STALE = 4;
const CHECK_MAX_MS = 15_000;

/**
 * One connection to TWS from handshake to end: each instrument is subscribed (subscription.ts), what comes is handed to
 * the host, and messages about the connection or its requests are acted on.
 *
 *   state       event                       next
 *   connecting  TWS takes requests          heard
 *   connecting  connectMs are over          (ends)
 *   heard       silentMs are over           quiet
 *   quiet       silentMs are over           probed   a probe is sent
 *   probed      silentMs are over           (ends)
 *   any but connecting  a message of TWS    heard
 *   any but connecting  resume()            heard    while it is paused, no time counts
 */
export class TwsSession {
  readonly #limits: TwsLimits;
  readonly #host: SessionHost;
  readonly #link: TwsLink;
  readonly #subscriptions: readonly Subscription[];
  readonly #requests = new Map<number, SubscriptionFeed>();
  readonly #over = new AbortController();
  readonly #ended = Promise.withResolvers<string>();
  readonly #pacer: RequestPacer;
  /** farms that are away, by name, and since when, ms */
  readonly #farms = new Map<string, number>();
  /** feeds that are silent since then are asked for again as soon as things have settled; null: none */
  #againSinceMs: number | null = null;
  #lastRequest = 0;
  #isPaused = false;
  readonly #checkMs: number;
  #checkedMs = -Infinity;
  #state: State = 'connecting';

  constructor(address: TwsAddress, instruments: readonly Instrument[], limits: TwsLimits, host: SessionHost) {
    this.#limits = limits;
    this.#host = host;
    this.#checkMs = Math.min(limits.staleMs / CHECKS_PER_STALE, CHECK_MAX_MS);
    const { env, meter } = host;
    this.#pacer = new RequestPacer(this.#over.signal, env.clock, limits.spacingMs);
    this.#link = new TwsLink(address, {
      ready: () => this.#ready(),
      contract: (request, details) => this.#of(request, 'contract')?.subscription.found(details),
      contractsEnd: (request) => this.#of(request, 'contract')?.subscription.resolved(),
      trade: (request, trade) => this.#trade(this.#of(request, 'trades'), trade),
      quote: (request, quote) => this.#quote(request, quote),
      rtVolume: (request, text) => this.#rtVolume(request, text),
      message: (code, text, request) => this.#message(code, text, request),
      heard: () => {
        if (this.#state !== 'connecting') this.#state = 'heard';
      },
      closed: () => this.#end('TWS closed the connection'),
    });
    const wires = {
      link: this.#link,
      requests: this.#requests,
      nextNumber: () => (this.#lastRequest += 1),
      pacer: this.#pacer,
      limits,
      env,
      over: this.#over.signal,
      complaint: (verdict: TwsVerdict) => this.#complaint(verdict),
      askedAgain: () => meter.count('retries_total', { component: COMPONENT }),
    };
    this.#subscriptions = instruments.map((instrument) => new Subscription(instrument, wires));
  }

  /** Resolves when the connection has ended or `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<SessionEnd> {
    const { silentMs, connectMs } = this.#limits;
    const stop = (): void => this.#end('stopped');
    signal.addEventListener('abort', stop);
    const watchdog = setInterval(() => this.#watch(), silentMs);
    const check = setInterval(() => this.#check(), this.#checkMs);
    const late = setTimeout(() => {
      if (this.#state === 'connecting') this.#end(`no handshake within ${connectMs} ms`);
    }, connectMs);
    if (signal.aborted) stop();
    else {
      shareTimeAmongAddresses(connectMs);
      this.#link.connect();
    }
    const why = await this.#ended.promise;
    signal.removeEventListener('abort', stop);
    clearInterval(watchdog);
    clearInterval(check);
    clearTimeout(late);
    this.#over.abort();
    this.#link.close();
    this.#forgetQuotes();
    return { why, wasReady: this.#state !== 'connecting' };
  }

  /** Stops reading the socket, so that TWS has to wait. */
  pause(): void {
    this.#isPaused = true;
    this.#link.pause();
  }

  resume(): void {
    this.#isPaused = false;
    // the silence until now was our own
    if (this.#state !== 'connecting') this.#state = 'heard';
    for (const subscription of this.#subscriptions) subscription.unheard();
    this.#link.resume();
  }

  #end(why: string): void {
    this.#ended.resolve(why);
  }

  #watch(): void {
    if (this.#isPaused) return;
    if (this.#state === 'heard') this.#state = 'quiet';
    else if (this.#state === 'probed') this.#end(`TWS is silent for ${2 * this.#limits.silentMs} ms`);
    else if (this.#state === 'quiet') {
      this.#state = 'probed';
      void this.#pacer.send(() => this.#link.probe());
    }
  }

  #check(): void {
    const nowMs = this.#host.env.clock.monotonicMs();
    const isLate = nowMs - this.#checkedMs > 2 * this.#checkMs;
    this.#checkedMs = nowMs;
    if (this.#isPaused) return;
    // when this thread was busy or suspended, what came meanwhile is still unread
    for (const subscription of this.#subscriptions) {
      if (isLate) subscription.unheard();
      else subscription.check();
    }
  }

  #ready(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'heard';
    for (const subscription of this.#subscriptions) subscription.start();
  }

  #trade(feed: SubscriptionFeed | null, trade: TwsTrade): void {
    if (feed === null) return;
    const { subscription } = feed;
    if (this.#host.trade(subscription.instrument, trade)) subscription.heard(feed);
  }

  #quote(request: number, quote: TwsQuote): void {
    const feed = this.#requests.get(request);
    if (feed === undefined) return;
    const { instrument } = feed.subscription;
    this.#host.quote(instrument, quote);
    if (instrument.isPrice(quote.bid) || instrument.isPrice(quote.ask)) feed.subscription.heard(feed);
  }

  #rtVolume(request: number, text: string): void {
    const feed = this.#of(request, 'line');
    const trade = feed === null || feed.subscription.hasTrades ? null : parseRtVolume(text);
    if (trade !== null) this.#trade(feed, trade);
  }

  #message(code: number, text: string, request: number): void {
    const verdict = twsVerdict(code);
    const feed = this.#requests.get(request);
    const farm = farmOf(text);
    // at the start TWS says of each farm that it is there
    if (verdict === 'good' || (verdict === 'farm_back' && !this.#farms.has(farm))) return;
    if (!NEWS.has(verdict)) this.#complaint(verdict);
    const symbol = feed?.subscription.instrument.symbol;
    const retryMs = this.#act(verdict, farm, feed);
    this.#host.env.log('warn', 'TWS says', {
      code,
      text,
      ...(symbol === undefined ? {} : { symbol, request: feed?.kind }),
      ...(retryMs === null ? {} : { retry_ms: retryMs }),
    });
    // without a known request there is nothing to repeat
    if (verdict === 'reconnect' || (verdict === 'pacing' && feed === undefined))
      this.#end(`${code}: ${text}`);
  }

  /** @returns after how many ms the request is repeated, if it is */
  #act(verdict: TwsVerdict, farm: string, feed: SubscriptionFeed | undefined): number | null {
    const { clock } = this.#host.env;
    switch (verdict) {
      case 'good':
      case 'notice':
      case 'upstream_back':
      case 'reconnect':
        return null;
      case 'upstream_lost':
        this.#forgetQuotes();
        return null;
      case 'farm_lost':
        // which instruments it serves is not known
        this.#forgetQuotes();
        if (!this.#farms.has(farm)) this.#farms.set(farm, clock.monotonicMs());
        return null;
      case 'farm_back':
        this.#again(this.#farms.get(farm) ?? clock.monotonicMs());
        this.#farms.delete(farm);
        return null;
      case 'upstream_back_empty':
        this.#forgetQuotes();
        this.#farms.clear();
        this.#again(Infinity);
        return null;
      case 'pacing':
        this.#pacer.hold(this.#limits.holdMs);
        return feed?.subscription.refused(feed, verdict) ?? null;
      case 'tick_limit':
      case 'denied':
      case 'other':
      case 'no_contract':
        return feed?.subscription.refused(feed, verdict) ?? null;
    }
  }

  #complaint(verdict: TwsVerdict): void {
    this.#host.meter.count('errors_total', { component: COMPONENT, reason: `tws_${verdict}` });
  }

  /** @param silentSinceMs as in Subscription.again */
  #again(silentSinceMs: number): void {
    const isPlanned = this.#againSinceMs !== null;
    this.#againSinceMs = Math.max(this.#againSinceMs ?? -Infinity, silentSinceMs);
    if (isPlanned) return;
    void pause(this.#limits.settleMs, this.#over.signal).then(() => {
      const sinceMs = this.#againSinceMs;
      this.#againSinceMs = null;
      if (sinceMs === null || this.#over.signal.aborted) return;
      for (const subscription of this.#subscriptions) subscription.again(sinceMs);
    });
  }

  #forgetQuotes(): void {
    for (const { instrument } of this.#subscriptions) instrument.forgetQuote();
  }

  #of(request: number, kind: FeedKind): SubscriptionFeed | null {
    const feed = this.#requests.get(request);
    return feed?.kind === kind ? feed : null;
  }
}

/** Said in the log, and no error. */
const NEWS: ReadonlySet<TwsVerdict> = new Set(['notice', 'upstream_back', 'farm_back']);

/** The name stands behind the last colon: `Market data farm connection is OK:usfarm`. */
function farmOf(text: string): string {
  return text.slice(text.lastIndexOf(':') + 1).trim();
}
