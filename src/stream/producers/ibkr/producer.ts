import { pause } from '../../../core/wait.ts';
import type { MarketEvent } from '../../../core/market/event.ts';
import type { Refusal } from '../../../core/market/refusal.ts';
import { backoffMs } from '../../../core/retry.ts';
import { StageLifecycle, type Stage } from '../../stage.ts';
import { EventPublisher, type ProducerOptions, type ProducerProgress } from '../event-publisher.ts';
import { usStock, type ContractSpec } from './contract.ts';
import { Instrument, type TwsQuote } from './instrument.ts';
import { REQUEST_SPACING_MS } from './request-pacer.ts';
import { COMPONENT, TwsSession, type TwsLimits } from './session.ts';
import type { TwsTrade } from './values.ts';

export interface IbkrProducerOptions extends ProducerOptions {
  host: string;
  port: number;
  /** must be unique among the programs connected to one TWS */
  clientId: number;
  /** the provider of the events */
  providerId: string;
  /** stocks traded in US dollars, such as SPY or BRK.B */
  symbols: readonly string[];
  /** any other instruments; one whose name is among the symbols replaces it */
  contracts?: readonly ContractSpec[];
  tws?: Partial<TwsLimits>;
  reconnect?: { firstMs: number; maxMs: number };
}

const TWS_LIMITS: TwsLimits = {
  connectMs: 10_000,
  silentMs: 30_000,
  sameInstrumentMs: 15_000,
  deniedMs: 15_000,
  deniedMaxMs: 600_000,
  answerMs: 60_000,
  staleMs: 300_000,
  settleMs: 1_000,
  holdMs: 2_000,
  spacingMs: REQUEST_SPACING_MS,
};
const RECONNECT = { firstMs: 1_000, maxMs: 60_000 };
/** Limit of trades read but not yet handed to the publisher; at the limit the socket is paused. */
const PENDING_MAX = 10_000;
const CHUNK_EVENTS = 500;
/** how long stop() keeps handing over trades already read, ms */
const DRAIN_MS = 5_000;

/** Publishes trades of Interactive Brokers, received through TWS or IB Gateway. Reconnects indefinitely. */
export class IbkrProducer implements Stage {
  readonly #options: IbkrProducerOptions;
  readonly #limits: TwsLimits;
  readonly #instruments: readonly Instrument[];
  readonly #events: EventPublisher;
  readonly #lifecycle: StageLifecycle;
  /** the publisher has failed */
  readonly #broken = new AbortController();
  readonly #giveUp = new AbortController();
  #pending: MarketEvent[] = [];
  #pumping: Promise<void> | null = null;
  #session: TwsSession | null = null;
  #isPaused = false;

  constructor(options: IbkrProducerOptions) {
    const { providerId, clientId, contracts = [] } = options;
    this.#options = options;
    this.#limits = { ...TWS_LIMITS, ...options.tws };
    const bySymbol = new Map(
      [...options.symbols.map(usStock), ...contracts].map((spec) => {
        const instrument = new Instrument(providerId, spec);
        return [instrument.symbol, instrument];
      }),
    );
    const symbols = [...bySymbol.keys()];
    this.#instruments = [...bySymbol.values()];
    this.#events = new EventPublisher(options, {
      stage: 'ibkr',
      provider: providerId,
      symbols,
      metadata: { client_id: clientId },
    });
    const { broken } = this.#events;
    broken.addEventListener('abort', () => this.#broken.abort(broken.reason));
    this.#lifecycle = new StageLifecycle(
      () => this.#keepConnected(),
      (failure) => this.#events.finish(failure),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  get progress(): ProducerProgress {
    const { published, queued } = this.#events.progress;
    return { published, queued: queued + this.#pending.length };
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #keepConnected(): Promise<void> {
    const { host, port, clientId, reconnect = RECONNECT } = this.#options;
    const { env, meter } = this.#events;
    const { log, random } = env;
    const ending = AbortSignal.any([this.#lifecycle.stopping, this.#broken.signal]);
    this.#events.start();
    for (let attempt = 0; !ending.aborted; attempt += 1) {
      const session = new TwsSession({ host, port, clientId }, this.#instruments, this.#limits, {
        trade: (instrument, trade) => this.#trade(instrument, trade),
        quote: (instrument, quote) => this.#quote(instrument, quote),
        env: this.#events.env,
        meter,
      });
      this.#session = session;
      const { why, wasReady } = await session.run(ending);
      this.#session = null;
      this.#isPaused = false;
      if (ending.aborted) break;
      if (wasReady) attempt = 0;
      const waitMs = backoffMs(attempt, reconnect, random());
      meter.count('retries_total', { component: `${COMPONENT}_tws` });
      log('warn', 'The connection to TWS ended (will reconnect)', { host, port, why, retry_ms: waitMs });
      await pause(waitMs, ending);
    }
    if (this.#pumping !== null) await Promise.race([this.#pumping, pause(DRAIN_MS, this.#broken.signal)]);
    this.#giveUp.abort();
    if (this.#broken.signal.aborted) throw this.#broken.signal.reason as Error;
    if (this.#pending.length > 0) log('error', 'Trades were not published', { events: this.#pending.length });
  }

  #trade(instrument: Instrument, trade: TwsTrade): boolean {
    const event = instrument.trade(trade, this.#events.env.clock.nowMicros());
    if (event !== null) this.#publish(instrument, event);
    else this.#events.meter.count('errors_total', { component: COMPONENT, reason: 'tws_no_price' });
    return event !== null;
  }

  #quote(instrument: Instrument, quote: TwsQuote): void {
    const event = instrument.quote(quote, this.#events.env.clock.nowMicros());
    if (event !== null) this.#publish(instrument, event);
  }

  #publish(instrument: Instrument, event: MarketEvent | Refusal): void {
    if (event.kind === 'refused') {
      this.#events.meter.count('errors_total', { component: COMPONENT, reason: event.reason });
      const { reason, detail } = event;
      this.#events.env.log('warn', 'A trade of TWS is no event', {
        symbol: instrument.symbol,
        reason,
        detail,
      });
      return;
    }
    this.#pending.push(event);
    if (this.#pending.length >= PENDING_MAX && !this.#isPaused) {
      this.#isPaused = true;
      this.#session?.pause();
    }
    this.#pumping ??= this.#pump().finally(() => {
      this.#pumping = null;
    });
  }

  /** Hands pending trades to the publisher, in order. */
  async #pump(): Promise<void> {
    try {
      while (this.#pending.length > 0 && !this.#giveUp.signal.aborted) {
        await this.#events.add(this.#pending.splice(0, CHUNK_EVENTS), this.#giveUp.signal);
        if (this.#isPaused && this.#pending.length < PENDING_MAX / 2) {
          this.#isPaused = false;
          this.#session?.resume();
        }
      }
    } catch (error) {
      this.#broken.abort(error);
    }
  }
}
