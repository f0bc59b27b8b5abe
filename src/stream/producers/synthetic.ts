import { setImmediate } from 'node:timers/promises';
import { pause } from '../../core/wait.ts';
import type { TickEvent } from '../../core/market/event.ts';
import { SyntheticTicks, type SyntheticOptions } from '../../core/market/synthetic/synthetic.ts';
import type { Micros } from '../../core/time.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { EventPublisher, type ProducerOptions, type ProducerProgress } from './event-publisher.ts';

export interface SyntheticProducerOptions extends ProducerOptions {
  /** what it draws; tickRate is that of event time, and of the clock as well unless `rate` says otherwise */
  generator: Omit<SyntheticOptions, 'startMicros'>;
  /**
   * Events a second over all symbols, by the clock and by event time; 0: as fast as the bus takes them, with the event
   * times of generator.tickRate. null: generator.tickRate for each symbol.
   */
  rate: number | null;
  /** ends after so many; null: never */
  count: number | null;
  /** the time of the first event; null: now, and for a burst such that it ends about now */
  startMicros: Micros | null;
}

/** handed to the publisher at once */
const CHUNK_EVENTS = 500;
/** The clock is looked at again at least so often: it may be set. */
const PAUSE_MS_MAX = 1_000;
/** event time before now where a burst without an end begins */
const BURST_LEAD_MICROS = 365n * 86_400_000_000n;

/**
 * Made-up ticks onto the bus. Each is published when the clock reaches its time, so neither rate nor order depends on
 * timers; what was held up by a full bus follows at once.
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
      // sockets and timers get their turn, also while the queue has room
      await setImmediate();
    }
    await this.#events.settled(stopping);
  }

  /** Events whose time has come, at most a chunk of them. */
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
    // the moments are random: with five standard deviations to spare the last one does not lie in the future
    const span = (this.#count + 5 * Math.sqrt(this.#count)) / eventsPerSecond;
    return now - BigInt(Math.ceil(span * 1e6));
  }
}
