import type { LogLine } from '../../core/env.ts';
import { BusError, type Delivery, type GroupMember, type StreamBus } from '../../bus/bus.ts';
import { DEAD_LETTER_TOPIC, type RefusedRecord } from '../../core/market/dead-letter.ts';
import type { Clock } from '../../core/time.ts';
import { systemClock } from '../../core/time.ts';
import { GroupInUseError, PartitionsDifferError } from '../../store/bus/partitions.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { deadLetterRecords } from '../dead-letters.ts';
import { NO_METER, type Meter } from '../meter.ts';
import { retrying, type RetryPolicy } from '../retry.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { refusedRecord, sortDeliveries, type TickBatch } from './batch.ts';
import { TickRun } from './report.ts';
import { storeTicks } from './sink.ts';

export interface TickConsumerOptions {
  bus: StreamBus;
  storeClient: StoreClient;
  /** ticks of one transaction while the consumer keeps up (default 100); it grows to batchMax when it is behind */
  batchSize?: number;
  batchMax?: number;
  /** default tick-consumer */
  consumerGroup?: string;
  /** unique among the members of the group; default tick-1 */
  consumerName?: string;
  /** default mdp.events */
  topic?: string;
  /** a silent member's entries are taken over after this, ms (default 30 s) */
  takeoverMs?: number;
  meter?: Meter;
  log?: LogLine;
  clock?: Clock;
}

/** whose group this is: another role is refused */
const ROLE = 'tick_consumer';
const BACKOFF = { firstMs: 100, maxMs: 5_000 };
/** How long a read waits for the first record: what stop() waits for at most. */
const WAIT_MS = 1_000;
/** What is in hand at stop() is given so long, then it is left to the next member. */
const DRAIN_MS = 10_000;
/** From so many deliveries on a record is taken alone: it may be what ended its consumer. */
const ALONE_FROM_ATTEMPTS = 4;
/** Begun alone so often without an end, it is taken for the cause and put aside. */
const ALONE_MAX = 3;

/**
 * The tick consumer: market ticks from the bus into tick_data, each once. Bars and replayed ticks are acknowledged and
 * left to others; what is malformed, refused or in conflict goes to mdp.events.dlq.
 *
 *   next ─► decode ─► write (one transaction) ─► dead letters ─► acknowledge
 *     ▲                 while this batch is written, the next one is read and decoded, and the one before acknowledged
 *     └── nothing is taken ahead of that: a slow database leaves the rest on the bus
 *
 * Members share all partitions: the writes commute. Whatever ends it, what was not acknowledged comes again, and is known
 * then.
 */
export class TickConsumer implements Stage {
  readonly #bus: StreamBus;
  readonly #store: StoreClient;
  readonly #topic: string;
  readonly #group: string;
  readonly #name: string;
  readonly #batchSize: number;
  readonly #batchMax: number;
  readonly #takeoverMs: number | undefined;
  readonly #meter: Meter;
  readonly #log: LogLine;
  readonly #clock: Clock;
  readonly #giveUp = new AbortController();
  readonly #lifecycle: StageLifecycle;
  readonly #run: TickRun;
  #member: GroupMember | null = null;

  constructor(options: TickConsumerOptions) {
    this.#bus = options.bus;
    this.#store = options.storeClient;
    this.#topic = options.topic ?? 'mdp.events';
    this.#group = options.consumerGroup ?? 'tick-consumer';
    this.#name = options.consumerName ?? 'tick-1';
    this.#batchSize = options.batchSize ?? 100;
    this.#batchMax = Math.max(options.batchMax ?? 5_000, this.#batchSize);
    this.#takeoverMs = options.takeoverMs;
    this.#meter = options.meter ?? NO_METER;
    this.#log = options.log ?? ((): void => {});
    this.#clock = options.clock ?? systemClock;
    this.#run = new TickRun({
      jobRuns: this.#store.jobRuns,
      meter: this.#meter,
      log: this.#log,
      clock: this.#clock,
      labels: { topic: this.#topic, group: this.#group, consumer: this.#name },
      lagMs: () => this.#member?.lagMs() ?? Promise.resolve(0),
    });
    this.#lifecycle = new StageLifecycle(
      () => this.#consume(),
      async (error) => {
        await this.#leave();
        await this.#run.finish(error);
      },
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#giveUp.abort(), DRAIN_MS);
    await this.#lifecycle.stop();
    clearTimeout(timer);
  }

  async #leave(): Promise<void> {
    try {
      await this.#member?.leave();
    } catch {
      // the bus is away: what is in hand is taken over
    }
    this.#log('info', 'TickConsumer stopped', { group: this.#group, consumer: this.#name });
  }

  async #consume(): Promise<void> {
    const signal = this.#lifecycle.stopping;
    this.#run.start();
    const partitions = this.#bus.partitions(this.#topic);
    await retrying(() => this.#store.claimGroup(this.#topic, this.#group, ROLE, partitions), {
      ...this.#policy('database', signal),
      mayPass: (error) => !(error instanceof GroupInUseError || error instanceof PartitionsDifferError),
    });
    const member = await this.#ask(signal, () =>
      this.#bus.join({
        topic: this.#topic,
        group: this.#group,
        member: this.#name,
        ...(this.#takeoverMs === undefined ? {} : { takeoverMs: this.#takeoverMs }),
      }),
    );
    this.#member = member;
    this.#log('info', 'TickConsumer started', {
      topic: this.#topic,
      group: this.#group,
      consumer: this.#name,
    });
    let limit = this.#batchSize;
    // of the batch before: stored, and stored and acknowledged
    let stored: Promise<unknown> = Promise.resolve();
    let settled: Promise<void> = Promise.resolve();
    try {
      while (!signal.aborted) {
        const deliveries = await this.#ask(signal, () => member.next(limit, WAIT_MS));
        if (deliveries.length === 0) continue;
        limit = this.#nextLimit(limit, deliveries.length);
        const suspect = deliveries.some(({ attempts }) => attempts >= ALONE_FROM_ATTEMPTS);
        const batch = suspect ? null : this.#sort(deliveries);
        await stored;
        // one batch is being stored and one acknowledged at a time, so that neither falls behind the other
        const before = settled;
        if (batch === null) {
          stored = settled = before.then(() => this.#alone(member, deliveries));
        } else {
          const writing = this.#write(member, batch, deliveries);
          stored = writing;
          settled = finish(writing, before);
        }
        // a failure is met by an await below or in the next turn; until then it must not count as unhandled
        stored.catch(() => {});
        settled.catch(() => {});
        await before;
      }
    } finally {
      await settled;
    }
  }

  /** Twice as many while full batches come, half as many while they are mostly empty. */
  #nextLimit(limit: number, got: number): number {
    if (got >= limit) return Math.min(this.#batchMax, limit * 2);
    return got < limit / 4 ? Math.max(this.#batchSize, limit >> 1) : limit;
  }

  #sort(deliveries: readonly Delivery[]): TickBatch {
    return sortDeliveries(deliveries, this.#context());
  }

  #context(): { group: string; partitions: number; nowMicros: bigint } {
    return {
      group: this.#group,
      partitions: this.#bus.partitions(this.#topic),
      nowMicros: this.#clock.nowMicros(),
    };
  }

  /**
   * Store, then dead letters, then acknowledge: in this order nothing is lost wherever it is interrupted. Resolves when the
   * batch is stored, with what is left to do: that runs beside the next batch's transaction.
   */
  async #write(
    member: GroupMember,
    batch: TickBatch,
    deliveries: readonly Delivery[],
  ): Promise<() => Promise<void>> {
    const beganMs = this.#clock.monotonicMs();
    const policy = this.#policy('database', this.#giveUp.signal);
    const { stored, known, refused } = await storeTicks(this.#store, batch.ticks, policy);
    const durationMs = this.#clock.monotonicMs() - beganMs;
    return async () => {
      const context = this.#context();
      const letters = [
        ...batch.refused,
        ...refused.map(({ delivery, reason, detail }) =>
          refusedRecord(delivery, { reason, detail }, context),
        ),
      ];
      await this.#putAside(letters);
      await this.#ask(this.#giveUp.signal, () => member.acknowledge(deliveries));
      this.#run.wrote({ batch, stored, known, refused, letters, durationMs });
    };
  }

  /**
   * Records that came so often that one of them may be what ended its consumer: one by one. What was begun alone
   * ALONE_MAX times without an end is put aside as `poison`. An outage does not count: it is waited for in here.
   */
  async #alone(member: GroupMember, deliveries: readonly Delivery[]): Promise<void> {
    for (const delivery of deliveries) {
      const begun = await retrying(() => this.#begunAlone(delivery), {
        ...this.#policy('database', this.#giveUp.signal),
        mayPass: () => true,
      });
      if (begun <= ALONE_MAX) {
        const close = await this.#write(member, this.#sort([delivery]), [delivery]);
        await close();
        continue;
      }
      const detail = `begun ${begun} times alone, and its consumer ended each time`;
      const letter = refusedRecord(delivery, { reason: 'poison', detail }, this.#context());
      await this.#putAside([letter]);
      await this.#ask(this.#giveUp.signal, () => member.acknowledge([delivery]));
      const batch: TickBatch = { ticks: [], refused: [letter], skipped: { bars: 0, replayed: 0, lost: 0 } };
      this.#run.wrote({ batch, stored: 0, known: 0, refused: [], letters: [letter], durationMs: 0 });
    }
  }

  #begunAlone({ topic, partition, position }: Delivery): Promise<number> {
    return this.#store.busCheckpoints.starting(topic, `${this.#group} alone`, partition, position);
  }

  async #putAside(letters: readonly RefusedRecord[]): Promise<void> {
    if (letters.length === 0) return;
    const records = deadLetterRecords(letters);
    await this.#ask(this.#giveUp.signal, () => this.#bus.publish(DEAD_LETTER_TOPIC, records));
  }

  /** A call of the bus, again until it is done: only what waiting does not mend is passed on. */
  #ask<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    return retrying(call, {
      ...this.#policy('bus', signal),
      mayPass: (error) =>
        error instanceof BusError && (error.kind === 'unreachable' || error.kind === 'full'),
    });
  }

  #policy(component: 'bus' | 'database', signal: AbortSignal): Omit<RetryPolicy, 'mayPass'> {
    return {
      backoff: BACKOFF,
      random: Math.random,
      signal,
      onRetry: (error, waitMs) => this.#run.retried(component, error as Error, waitMs),
    };
  }
}

/** What is left of a batch once it is stored, after the batch before it is done with. */
async function finish(writing: Promise<() => Promise<void>>, before: Promise<void>): Promise<void> {
  const close = await writing;
  await before;
  await close();
}
