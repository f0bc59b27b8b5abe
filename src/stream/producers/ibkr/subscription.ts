import type { ContractDetails } from '@stoqey/ib';
import type { Env } from '../../../core/env.ts';
import { backoffMs } from '../../../core/retry.ts';
import { pause } from '../../../core/wait.ts';
import type { TwsVerdict } from './codes.ts';
import { Feed, type FeedKind } from './feed.ts';
import type { Instrument } from './instrument.ts';
import { RequestPacer } from './request-pacer.ts';
import { isOpen, parseTradingHours, type TradingHours } from './trading-hours.ts';
import type { TwsContract, TwsLink } from './tws-link.ts';

export interface SubscriptionLimits {
  /** between two tick-by-tick requests for one instrument, ms: TWS refuses more than one in 15 s */
  sameInstrumentMs: number;
  /** a refused request is repeated after this, doubled with each refusal, ms */
  deniedMs: number;
  deniedMaxMs: number;
  /** a question for a contract that has no answer for so long is asked again, ms */
  answerMs: number;
  /** a feed that delivered nothing for so long while its exchange is open is asked for again, ms */
  staleMs: number;
}

export type SubscriptionFeed = Feed<Subscription>;

/** What the subscriptions of one connection share. */
export interface Wires {
  link: TwsLink;
  /** feeds by the requests that TWS holds for them */
  requests: Map<number, SubscriptionFeed>;
  nextNumber: () => number;
  pacer: RequestPacer;
  limits: SubscriptionLimits;
  env: Env;
  over: AbortSignal;
  /** counts it */
  complaint: (verdict: TwsVerdict) => void;
  askedAgain: () => void;
}

/** silence that is waited for before a quiet instrument is asked for once more */
const STALE_MAX_MS = 3_600_000;
/** refusals of an unknown kind after which a tick-by-tick feed is given up for a line */
const REFUSALS_MAX = 2;

/**
 * One instrument on one connection.
 *
 *   contract ─► trades, tick by tick ─► (sameInstrumentMs) ─► quotes, tick by tick
 *     │            └ limit reached: 10190 ─► line: quotes, and trades by RTVolume
 *     └ an option ─► line; an instrument that has no trades: its quotes alone
 */
export class Subscription {
  readonly instrument: Instrument;
  readonly #wires: Wires;
  readonly #contractFeed: SubscriptionFeed;
  readonly #trades: SubscriptionFeed;
  readonly #quotes: SubscriptionFeed;
  readonly #line: SubscriptionFeed;
  /** its tick-by-tick requests, apart from each other */
  readonly #lane: RequestPacer;
  #found: ContractDetails[] = [];
  #contract: TwsContract | null = null;
  #hours: TradingHours | null = null;

  constructor(instrument: Instrument, wires: Wires) {
    this.instrument = instrument;
    this.#wires = wires;
    this.#contractFeed = new Feed('contract', this);
    this.#trades = new Feed('trades', this);
    this.#quotes = new Feed('quotes', this);
    this.#line = new Feed('line', this);
    this.#lane = new RequestPacer(wires.over, wires.env.clock, wires.limits.sameInstrumentMs);
  }

  start(): void {
    this.#ask(this.#contractFeed, 'waiting');
  }

  /** A line has trades as well: they are duplicates while these come tick by tick. */
  get hasTrades(): boolean {
    return this.#trades.state !== 'idle';
  }

  found(details: ContractDetails): void {
    this.#found.push(details);
  }

  /** All contracts that TWS knows by this description have been found. */
  resolved(): void {
    const ids = [...new Set(this.#found.map(({ contract }) => contract.conId))];
    const { contract, tradingHours, liquidHours, timeZoneId } = this.#found[0] ?? { contract: {} };
    if (ids.length !== 1 || contract.conId === undefined) {
      this.#wires.complaint('no_contract');
      this.#wires.env.log('error', 'A symbol is not one instrument: it is left out until it is', {
        symbol: this.instrument.symbol,
        contracts: this.#found.map(({ contract: { conId, exchange, localSymbol } }) =>
          [conId, exchange, localSymbol].join(' '),
        ),
        retry_ms: this.refused(this.#contractFeed, 'no_contract'),
      });
      return;
    }
    this.#drop(this.#contractFeed);
    this.#contract = { conId: contract.conId, exchange: contract.exchange ?? this.instrument.spec.exchange };
    this.#hours = parseTradingHours(tradingHours, timeZoneId) ?? parseTradingHours(liquidHours, timeZoneId);
    this.instrument.resolved(contract.secType);
    const { isTickByTick, price } = this.instrument.traits;
    if (!isTickByTick) this.#ask(this.#line, 'waiting');
    else if (price === 'last') this.#ask(this.#trades, 'waiting');
    if (isTickByTick) this.#ask(this.#quotes, 'waiting');
  }

  /** A feed has delivered something that is a price. */
  heard(feed: SubscriptionFeed): void {
    feed.heardMs = this.#nowMs();
    feed.quietSinceMs = feed.heardMs;
    feed.refusals = 0;
    feed.silences = 0;
    if (feed.state === 'doubted') feed.turn += 1;
    if (feed.state === 'doubted' || feed.state === 'asked') feed.state = 'delivering';
  }

  /**
   * TWS has refused it, or seems to: its request is kept until it is repeated, in case that it works after all.
   * @returns after how many ms it will be repeated; null: it will not, or that was decided before
   */
  refused(feed: SubscriptionFeed, verdict: TwsVerdict): number | null {
    const isTickByTick = feed.kind === 'trades' || feed.kind === 'quotes';
    if (isTickByTick && verdict === 'tick_limit') {
      this.#useLine(feed);
      return null;
    }
    // TWS says some things many times; what will be asked for again needs no further reason
    if (feed.state !== 'asked' && feed.state !== 'delivering') return null;
    feed.refusals += 1;
    if (isTickByTick && verdict === 'other' && feed.refusals >= REFUSALS_MAX) {
      this.#useLine(feed);
      return null;
    }
    // a request that came too fast was not looked at: there is nothing to cancel
    if (verdict === 'pacing') this.#forget(feed);
    feed.state = 'doubted';
    const turn = (feed.turn += 1);
    const { deniedMs: firstMs, deniedMaxMs: maxMs } = this.#wires.limits;
    const waitMs =
      verdict === 'pacing' ? 0 : backoffMs(feed.refusals - 1, { firstMs, maxMs }, this.#wires.env.random());
    void pause(waitMs, this.#wires.over).then(() => {
      if (feed.turn === turn && !this.#wires.over.aborted) this.#ask(feed, 'doubted');
    });
    return waitMs;
  }

  /**
   * Asks again for what may have been lost.
   * @param silentSinceMs only feeds that have delivered nothing since then; Infinity: all, and TWS has certainly lost them
   */
  again(silentSinceMs: number): void {
    const isLost = silentSinceMs === Infinity;
    for (const feed of this.#feeds()) {
      if (isLost) this.#ask(feed, 'waiting');
      else if (feed.state !== 'waiting' && feed.heardMs < silentSinceMs) this.#ask(feed, 'doubted');
    }
  }

  /** Nothing was read until now: no silence counts. */
  unheard(): void {
    for (const feed of this.#feeds()) feed.quietSinceMs = this.#nowMs();
  }

  /** Asks again for what is silent for too long. */
  check(): void {
    const nowMs = this.#nowMs();
    const { answerMs, staleMs } = this.#wires.limits;
    const open = isOpen(this.#hours, this.#wires.env.clock.nowMicros());
    for (const feed of this.#feeds()) {
      if (feed.state !== 'asked' && feed.state !== 'delivering') continue;
      if (feed.kind === 'contract') {
        if (nowMs - feed.quietSinceMs > answerMs) this.refused(feed, 'other');
        continue;
      }
      if (!open) feed.quietSinceMs = nowMs;
      const limitMs = Math.min(staleMs * 2 ** feed.silences, Math.max(staleMs, STALE_MAX_MS));
      if (nowMs - feed.quietSinceMs <= limitMs) continue;
      feed.silences += 1;
      const { symbol } = this.instrument;
      this.#wires.env.log('warn', 'TWS sends nothing although the exchange is open (asking again)', {
        symbol,
        request: feed.kind,
        silent_ms: Math.round(nowMs - feed.quietSinceMs),
      });
      this.#ask(feed, 'doubted');
    }
  }

  /** Those that are wanted, in the order in which they are asked for. */
  #feeds(): SubscriptionFeed[] {
    const all = [this.#contractFeed, this.#line, this.#trades, this.#quotes];
    return all.filter(({ state }) => state !== 'idle');
  }

  #ask(feed: SubscriptionFeed, state: 'waiting' | 'doubted'): void {
    if (feed.number !== null || feed.refusals > 0) this.#wires.askedAgain();
    const turn = (feed.turn += 1);
    feed.state = state;
    const send = (): Promise<boolean> => this.#send(feed, turn);
    if (feed.kind === 'trades' || feed.kind === 'quotes') void this.#lane.send(send);
    else void send();
  }

  /** @returns whether anything was sent */
  async #send(feed: SubscriptionFeed, turn: number): Promise<boolean> {
    const { pacer, requests, link, nextNumber } = this.#wires;
    if (feed.turn !== turn) return false;
    if (feed.number !== null) await pacer.send(() => feed.turn === turn && this.#release(feed));
    let isSent = false;
    await pacer.send(() => {
      if (feed.turn !== turn) return false;
      const number = nextNumber();
      requests.set(number, feed);
      feed.number = number;
      feed.state = 'asked';
      feed.quietSinceMs = this.#nowMs();
      this.#found = feed.kind === 'contract' ? [] : this.#found;
      const { spec, traits } = this.instrument;
      if (feed.kind === 'contract') link.askContract(number, spec);
      else if (this.#contract !== null) link.subscribe(feed.kind, number, this.#contract, traits.price);
      isSent = true;
      return true;
    });
    return isSent;
  }

  #drop(feed: SubscriptionFeed): void {
    feed.turn += 1;
    feed.state = 'idle';
    feed.refusals = 0;
    const number = this.#forget(feed);
    if (number !== null) void this.#wires.pacer.send(() => this.#cancel(feed.kind, number));
  }

  /** @returns whether TWS had to be told */
  #release(feed: SubscriptionFeed): boolean {
    const number = this.#forget(feed);
    return number !== null && this.#cancel(feed.kind, number);
  }

  /** What still comes by its request is not taken. */
  #forget(feed: SubscriptionFeed): number | null {
    const { number } = feed;
    if (number !== null) this.#wires.requests.delete(number);
    feed.number = null;
    return number;
  }

  #cancel(kind: FeedKind, number: number): boolean {
    if (kind === 'contract') return false;
    this.#wires.link.cancel(kind, number);
    return true;
  }

  /** One line carries both trades and quotes, whichever of the two was refused. */
  #useLine(feed: SubscriptionFeed): void {
    if (feed.kind === 'trades') this.#drop(this.#trades);
    this.#drop(this.#quotes);
    if (this.#line.state === 'idle') this.#ask(this.#line, 'waiting');
  }

  #nowMs(): number {
    return this.#wires.env.clock.monotonicMs();
  }
}
