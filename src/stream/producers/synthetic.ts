import { setImmediate } from 'node:timers/promises';
import { pause } from '../../core/wait.ts';
import type { TickEvent } from '../../core/market/event.ts';
import { SyntheticTicks, type SyntheticOptions } from '../../core/market/synthetic/synthetic.ts';
import type { Micros } from '../../core/time.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { EventPublisher, type ProducerOptions, type ProducerProgress } from './event-publisher.ts';

export interface SyntheticProducerOptions extends ProducerOptions {
  /** generator settings; tickRate applies to event time, and to the clock as well unless `rate` is set */
  generator: Omit<SyntheticOptions, 'startMicros'>;
  /**
   * Events per second over all symbols, in clock time and event time; 0: as fast as the bus accepts them, with event
   * times by generator.tickRate. null: generator.tickRate for each symbol.
   */
  rate: number | null;
  /** number of events after which it ends; null: never */
  count: number | null;
  /** time of the first event; null: now, or for a burst early enough that it ends about now */
  startMicros: Micros | null;
}

/** most events handed to the publisher at a time */
const CHUNK_EVENTS = 500;
/** The clock is re-read at least this often, ms: it may be set. */
const PAUSE_MS_MAX = 1_000;
/** how far before now the event times of an endless burst start */
const BURST_LEAD_MICROS = 365n * 86_400_000_000n;

/**
 * Publishes synthetic ticks. Each is due when the clock reaches its time, so neither rate nor order depends on timers;
 * ticks delayed by a full bus follow at once.
 */
export class SyntheticProducer implements Stage {
  readonly #events: EventPublisher;
  readonly #lifecycle: StageLifecycle;
  readonly #ticks: SyntheticTicks;
  readonly #burst: boolean;
  readonly #count: number;
  #next: TickEvent | null = null;
  #taken = 0;

  /** @throws RangeError when an option cannot be used */
  constructor(options: SyntheticProducerOptions) {
    const { generator, rate, count } = options;
    const { provider, symbols, seed } = generator;
    this.#events = new EventPublisher(options, {
      stage: 'synthetic',
      provider,
      symbols,
      metadata: { seed, rate, count },
    });
    this.#burst = rate === 0;
    this.#count = count ?? Infinity;
    const tickRate = rate === null || rate === 0 ? generator.tickRate : rate / symbols.length;
    const startMicros = options.startMicros ?? this.#firstMicros(tickRate * symbols.length);
    this.#ticks = new SyntheticTicks({ ...generator, tickRate, startMicros });
    this.#lifecycle = new StageLifecycle(
      () => this.#produce(),
      (error) => this.#events.finish(error),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  get progress(): ProducerProgress {
    return this.#events.progress;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #produce(): Promise<void> {
    const { stopping } = this.#lifecycle;
    this.#events.start();
    while (!stopping.aborted && this.#taken < this.#count) {
      if (!this.#burst) await this.#reach(this.#peek().srcTs);
      await this.#events.add(this.#takeDue(), stopping);
      // lets sockets and timers run, also while the queue is not full
      await setImmediate();
    }
    await this.#events.settled(stopping);
  }

  /** Due events, at most CHUNK_EVENTS of them. */
  #takeDue(): TickEvent[] {
    const nowMicros = this.#events.env.clock.nowMicros();
    const due: TickEvent[] = [];
    while (due.length < CHUNK_EVENTS && this.#taken < this.#count) {
      const event = this.#peek();
      if (!this.#burst && event.srcTs > nowMicros) break;
      event.ingestTs = nowMicros;
      due.push(event);
      this.#taken += 1;
      this.#next = null;
    }
    return due;
  }

  #peek(): TickEvent {
    this.#next ??= this.#ticks.next();
    return this.#next;
  }

  async #reach(micros: Micros): Promise<void> {
    while (!this.#lifecycle.stopping.aborted) {
      const waitMs = Number(micros - this.#events.env.clock.nowMicros()) / 1000;
      if (waitMs <= 0) return;
      await pause(Math.min(Math.ceil(waitMs), PAUSE_MS_MAX), this.#lifecycle.stopping);
    }
  }

  #firstMicros(eventsPerSecond: number): Micros {
    const now = this.#events.env.clock.nowMicros();
    if (!this.#burst) return now;
    if (this.#count === Infinity) return now - BURST_LEAD_MICROS;
    // event times are random: a margin of five standard deviations keeps the last one out of the future
    const span = (this.#count + 5 * Math.sqrt(this.#count)) / eventsPerSecond;
    return now - BigInt(Math.ceil(span * 1e6));
  }
}
