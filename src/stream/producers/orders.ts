import type { Env } from '../../core/env.ts';
import { pause } from '../../core/wait.ts';
import type { MarketEvent } from '../../core/market/event.ts';
import {
  DEFAULT_MINTS,
  ORDER_PROVIDER,
  orderEvent,
  UNKNOWN_PAYLOAD_REASONS,
  type Mints,
} from '../../core/market/orders/order.ts';
import {
  cursorAt,
  isAtEnd,
  moveBehind,
  nextStep,
  type OrdersCursor,
} from '../../core/market/orders/cursor.ts';
import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import { backoffMs } from '../../core/retry.ts';
import type { ChainOrders, ChainTransaction } from '../../store/chain/orders.ts';
import { databaseTrouble } from '../trouble.ts';
import type { Meter } from '../meter.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { EventPublisher, type ProducerOptions, type ProducerProgress } from './event-publisher.ts';

export interface OrdersProducerOptions extends ProducerOptions {
  /** closed with the stage */
  chain: ChainOrders;
  /** default: SOL and USDC */
  mints?: Mints;
  /** age at which an open gap is passed, ms (default 10 s); ticks filled in later are published then */
  gapWaitMs?: number;
}

const GAP_WAIT_MS = 10_000;
/** transactions per page */
const PAGE_ROWS = 1_000;
/** limit of one query: numbers of dead letters in a page, and ticks stored after they were passed */
const NUMBERS_MAX = 1_000;
/** poll interval while the chain has nothing new, ms */
const POLL_MS = 200;
/** how often a standby checks whether it has to take over, ms */
const STANDBY_MS = 1_000;
/** How often passed numbers are looked up, and how often a cursor moving over empty ticks is written, ms. */
const SELDOM_MS = 1_000;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };

/** A database call failed; it is retried. */
class StoreFailure extends Error {}

/**
 * Publishes the orders of the chain as market events, from the committed ticks, in order.
 *
 *   cursor ─► [position, first hole] ─► page of transactions ─► events ─► publisher ─► on the bus ─► cursor moves
 *      │            └ at an open gap: waits until it is gapWaitMs old, notes it as passed, continues after it
 *      └ passed ─► a tick of it is stored by now ─► its events are published late
 *
 * It never reads beyond the ledger's position, and the cursor is written after the bus has the events: after a crash
 * a page is published again, with the same event ids and content. One stage publishes, others stand by (a lease).
 */
export class OrdersProducer implements Stage {
  readonly #chain: ChainOrders;
  readonly #mints: Mints;
  readonly #gapWaitMs: number;
  readonly #events: EventPublisher;
  readonly #env: Env;
  readonly #meter: Meter;
  readonly #lifecycle: StageLifecycle;
  #cursor: OrdersCursor | null = null;
  /** saves the cursor of the previous page: its events are published while the next page is read */
  #saving: Promise<void> = Promise.resolve();
  #unsaved = false;
  #savedMs = 0;
  #lookedBackMs = -Infinity;
  #attempt = 0;

  constructor(options: OrdersProducerOptions) {
    this.#chain = options.chain;
    this.#mints = options.mints ?? DEFAULT_MINTS;
    this.#gapWaitMs = options.gapWaitMs ?? GAP_WAIT_MS;
    this.#events = new EventPublisher(options, { stage: 'orders', provider: ORDER_PROVIDER, symbols: null });
    this.#env = this.#events.env;
    this.#meter = this.#events.meter;
    for (const kind of ['order', ...UNKNOWN_PAYLOAD_REASONS]) {
      this.#meter.count('orders_read_total', { kind }, 0);
    }
    this.#lifecycle = new StageLifecycle(
      () => this.#lead(),
      async (failure) => {
        await this.#events.finish(failure);
        await this.#chain.close();
      },
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

  async #lead(): Promise<void> {
    const { stopping } = this.#lifecycle;
    this.#events.start();
    let standby = false;
    while (!stopping.aborted) {
      try {
        const lead = await this.#ask(() => this.#chain.lead());
        if (lead === null) {
          if (!standby) this.#env.log('info', 'Another stage publishes the orders: this one stands by', {});
          standby = true;
          await pause(STANDBY_MS, stopping);
          continue;
        }
        standby = false;
        this.#cursor = lead.cursor;
        await this.#follow();
      } catch (error) {
        if (!(error instanceof StoreFailure)) throw error;
        await this.#afterFailure(error);
      }
    }
  }

  async #afterFailure({ cause, message }: StoreFailure): Promise<void> {
    const waitMs = backoffMs(this.#attempt, BACKOFF, this.#env.random());
    this.#attempt += 1;
    this.#saving = Promise.resolve();
    this.#meter.count('retries_total', { component: 'producer_orders_database' });
    const trouble = databaseTrouble(cause);
    this.#env.log(trouble.level, `The orders of the chain cannot be read. ${trouble.message}`, {
      err: cause ?? message,
      retry_ms: waitMs,
    });
    await pause(waitMs, this.#lifecycle.stopping);
  }

  async #follow(): Promise<void> {
    const { stopping } = this.#lifecycle;
    while (!stopping.aborted) {
      const moved = (await this.#lookBack()) || (await this.#goOn());
      this.#attempt = 0;
      if (moved) continue;
      if (this.#unsaved) await this.#save();
      await this.#saving; // also rejects if the publisher has failed
      await pause(POLL_MS, stopping);
    }
    await this.#saving;
  }

  /** One step forward; false when there is nothing to do. */
  async #goOn(): Promise<boolean> {
    if (this.#cursor !== null && isAtEnd(this.#cursor)) return false;
    const reach = await this.#ask(() => this.#chain.reach(this.#cursor?.tick ?? 0n));
    if (reach.origin === null) return false;
    this.#cursor ??= cursorAt(reach.origin);
    const cursor = this.#cursor;
    const step = nextStep(cursor, reach, this.#gapWaitMs);
    switch (step.kind) {
      case 'wait':
        return false;
      case 'pass':
        cursor.passed.add(step.range);
        moveBehind(cursor, step.range.last);
        if (reach.hole?.state === 'open') {
          const { first, last } = step.range;
          const fields = { first_tick: first.toString(), last_tick: last.toString() };
          this.#env.log('warn', 'Orders of an open gap will be published when it is filled', fields);
        }
        await this.#save();
        return true;
      case 'read':
        await this.#read(cursor, step.upTo);
        return true;
    }
  }

  async #read(cursor: OrdersCursor, upTo: bigint): Promise<void> {
    // before the page: a tick stored between the two queries is published twice rather than never
    const dead = await this.#ask(() =>
      this.#chain.deadLetters({ first: cursor.tick, last: upTo }, NUMBERS_MAX),
    );
    const end = dead.length < NUMBERS_MAX ? upTo : dead[dead.length - 1];
    const rows = await this.#ask(() => this.#chain.page(cursor.tick, cursor.sequence, end, PAGE_ROWS));
    await this.#publish(rows);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_ROWS) moveBehind(cursor, end);
    else [cursor.tick, cursor.sequence] = [last.tick, last.sequence];
    for (const tick of dead) if (tick < cursor.tick) cursor.passed.add({ first: tick, last: tick });
    const nowMs = this.#env.clock.monotonicMs();
    if (rows.length > 0 || dead.length > 0 || nowMs - this.#savedMs > SELDOM_MS) await this.#save();
    else this.#unsaved = true;
  }

  /** Publishes passed ticks that have since been stored; false if there are none or it checked a moment ago. */
  async #lookBack(): Promise<boolean> {
    const cursor = this.#cursor;
    const nowMs = this.#env.clock.monotonicMs();
    if (cursor === null || cursor.passed.size === 0 || nowMs - this.#lookedBackMs < SELDOM_MS) return false;
    const ticks = await this.#ask(() => this.#chain.stored(cursor.passed.list(), NUMBERS_MAX));
    if (ticks.length < NUMBERS_MAX) this.#lookedBackMs = nowMs;
    if (ticks.length === 0) return false;
    for (const { first, last } of rangesOf(ticks)) {
      let [tick, sequence] = [first, -1n];
      for (;;) {
        const rows = await this.#ask(() => this.#chain.page(tick, sequence, last, PAGE_ROWS));
        await this.#publish(rows);
        const end = rows.at(-1);
        if (end === undefined || rows.length < PAGE_ROWS) break;
        [tick, sequence] = [end.tick, end.sequence];
      }
      cursor.passed.remove({ first, last });
    }
    await this.#save();
    return true;
  }

  async #publish(rows: readonly ChainTransaction[]): Promise<void> {
    const ingestTs = this.#env.clock.nowMicros();
    const events: MarketEvent[] = [];
    for (const { payload, sequence: sequenceNumber, tickTimestamp } of rows) {
      const place = { tickTimestamp, sequenceNumber, ingestTs };
      const event =
        payload === null
          ? ({ kind: 'unknown', reason: 'too_large' } as const)
          : orderEvent(payload, place, this.#mints);
      if (event.kind === 'tick') events.push(event);
      this.#meter.count('orders_read_total', { kind: event.kind === 'tick' ? 'order' : event.reason });
    }
    await this.#events.add(events, this.#lifecycle.stopping);
  }

  /** Writes a copy of the cursor once all events added so far are on the bus; waits for the previous write. */
  async #save(): Promise<void> {
    const cursor = this.#cursor;
    await this.#saving;
    if (cursor === null || this.#lifecycle.stopping.aborted) return;
    this.#unsaved = false;
    this.#savedMs = this.#env.clock.monotonicMs();
    const copy = { ...cursor, passed: new RangeSet(cursor.passed.list()) };
    this.#saving = this.#events
      .settled(this.#lifecycle.stopping)
      .then((settled) => (settled ? this.#ask(() => this.#chain.writeCursor(copy)) : undefined));
    this.#saving.catch(() => {}); // handled by the next save
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new StoreFailure('the store did not answer', { cause: error });
    }
  }
}

/** Groups ascending numbers into ranges. */
function rangesOf(numbers: readonly bigint[]): TickRange[] {
  const ranges: TickRange[] = [];
  for (const number of numbers) {
    const range = ranges.at(-1);
    if (range !== undefined && range.last + 1n === number) range.last = number;
    else ranges.push({ first: number, last: number });
  }
  return ranges;
}
