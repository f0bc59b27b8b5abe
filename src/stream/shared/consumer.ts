import type { Delivery, GroupMember, StreamBus } from '../../bus/bus.ts';
import { envOf, type Env } from '../../core/env.ts';
import { DEAD_LETTER_TOPIC, type RefusedRecord } from '../../core/market/dead-letter.ts';
import { GroupInUseError, PartitionsDifferError } from '../../store/bus/partitions.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { deadLetterRecords } from '../dead-letters/outgoing.ts';
import { JobRun } from '../job-run.ts';
import { NO_METER } from '../meter.ts';
import { ServerCalls } from '../server-calls.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { BatchLimit } from './batch-limit.ts';
import { refusedRecord, type BatchContext, type SortedBatch } from './batch.ts';
import { InFlightBatches, type Settle } from './in-flight.ts';
import type { Beside, ConsumerParts, ConsumerRole, ConsumerWork, SharedConsumerOptions } from './role.ts';
import { storeTicks } from './sink.ts';

/** How long a read waits for the first record, ms; stop() waits for it at most this long. */
const WAIT_MS = 1_000;
/** How long stop() waits for batches in flight, ms; after that they are left to the next member. */
const DRAIN_MS = 10_000;
/** From this many deliveries on, a record is processed alone: it may be what crashed its consumer. */
const ALONE_FROM_ATTEMPTS = 4;
/** After this many unfinished attempts alone, a record is considered the cause and becomes a dead letter. */
const ALONE_MAX = 3;

type State =
  | { kind: 'claiming' }
  | { kind: 'joining' }
  | { kind: 'consuming'; member: GroupMember; batches: InFlightBatches };

/**
 * A member of a group whose members share all partitions, as their writes commute: ticks from the bus into a table, each
 * once. Malformed, refused and conflicting records go to mdp.events.dlq.
 *
 *   next ─► decode ─► write (one transaction) ─► dead letters ─► acknowledge
 *     ▲                 while this batch is written, the next one is read and decoded, and the previous one acknowledged
 *     └── no further read-ahead: with a slow database the rest stays on the bus
 *
 *   state      event                                      next
 *   claiming   this role owns the group                   joining
 *   joining    the bus has taken it as a member           consuming   nothing in flight
 *   consuming  read: nothing                              consuming
 *   consuming  read: a batch, and the last one is stored  consuming   in flight
 *   consuming  read: a batch with a record that came      consuming   in flight alone, record by record
 *              ALONE_FROM_ATTEMPTS times
 *   any        stop()                                     (ends)      in-flight batches are given DRAIN_MS; leaves the group
 *   any        a permanent error                          (ends)      leaves the group; `done` rejects with it
 *
 * However it ends, unacknowledged records are redelivered, and rows already stored are recognised.
 */
export class SharedConsumer<T, B extends SortedBatch<T>> implements Stage {
  readonly #bus: StreamBus;
  readonly #store: StoreClient;
  readonly #role: ConsumerRole;
  readonly #topic: string;
  readonly #group: string;
  readonly #member: string;
  readonly #batchSize: number;
  readonly #limit: BatchLimit;
  readonly #takeoverMs: number | undefined;
  readonly #env: Env;
  readonly #calls: ServerCalls;
  readonly #run: JobRun;
  readonly #work: ConsumerWork<T, B>;
  readonly #beside: Beside | null;
  readonly #lifecycle: StageLifecycle;
  readonly #giveUp = new AbortController();
  #state: State = { kind: 'claiming' };

  constructor(
    options: SharedConsumerOptions,
    role: ConsumerRole,
    work: (parts: ConsumerParts) => ConsumerWork<T, B>,
    beside: Beside | null = null,
  ) {
    const meter = options.meter ?? NO_METER;
    this.#bus = options.bus;
    this.#store = options.storeClient;
    this.#role = role;
    this.#topic = options.topic ?? role.topic;
    this.#group = options.consumerGroup ?? role.consumerGroup;
    this.#member = options.consumerName ?? role.consumerName;
    this.#batchSize = options.batchSize ?? role.batchSize;
    this.#limit = new BatchLimit(this.#batchSize, options.batchMax ?? role.batchMax);
    this.#takeoverMs = options.takeoverMs;
    this.#env = envOf(options.env);
    this.#beside = beside;
    const { backpressure } = options;
    const { name, role: component, jobName, stage } = role;
    this.#calls = new ServerCalls({ env: this.#env, meter, name, component, backpressure });
    const labels = this.#labels();
    this.#run = new JobRun({
      env: this.#env,
      meter,
      jobRuns: this.#store.jobRuns,
      stage,
      start: { jobName, metadata: labels },
      onBeat: async () => {
        this.#work.beat();
        meter.set('stream_consumer_lag_ms', labels, await this.#lagMs());
      },
    });
    this.#work = work({ env: this.#env, meter, run: this.#run, calls: this.#calls });
    this.#lifecycle = new StageLifecycle(
      () => this.#consumeAll(),
      (error) => this.#leave(error),
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

  async #consumeAll(): Promise<void> {
    this.#run.start();
    await this.#claim();
    this.#state = { kind: 'joining' };
    const member = await this.#join();
    const batches = new InFlightBatches();
    this.#state = { kind: 'consuming', member, batches };
    await this.#beside?.start(this.#calls, this.#lifecycle.stopping);
    this.#env.log('info', `${this.#role.name} started`, this.#labels());
    try {
      while (!this.#lifecycle.stopping.aborted) {
        await this.#consume(this.#state);
        const failure = this.#beside?.failure ?? null;
        if (failure !== null) throw failure;
      }
    } finally {
      await batches.settled();
    }
  }

  #claim(): Promise<void> {
    const partitions = this.#bus.partitions(this.#topic);
    return this.#calls.database(
      () => this.#store.claimGroup(this.#topic, this.#group, this.#role.role, partitions),
      this.#lifecycle.stopping,
      (error) => !(error instanceof GroupInUseError || error instanceof PartitionsDifferError),
    );
  }

  #join(): Promise<GroupMember> {
    const takeoverMs = this.#takeoverMs;
    const member = {
      topic: this.#topic,
      group: this.#group,
      member: this.#member,
      ...(takeoverMs === undefined ? {} : { takeoverMs }),
    };
    return this.#calls.bus(() => this.#bus.join(member), this.#lifecycle.stopping);
  }

  /** Reads one batch and puts it in flight as soon as the previous one is stored. */
  async #consume(state: State & { kind: 'consuming' }): Promise<void> {
    const { member, batches } = state;
    const deliveries = await this.#gather(member);
    if (deliveries.length === 0) return;
    if (deliveries.some(({ attempts }) => attempts >= ALONE_FROM_ATTEMPTS)) {
      await batches.stored();
      await batches.addAlone(() => this.#oneByOne(member, deliveries));
    } else {
      const batch = this.#work.sort(deliveries, this.#context());
      await batches.stored();
      await batches.add(() => this.#write(member, batch, deliveries));
    }
  }

  /** What is there at once; or, where the role says so, what came until there is a batch or its time is over. */
  async #gather(member: GroupMember): Promise<Delivery[]> {
    const { stopping } = this.#lifecycle;
    const { gatherMs } = this.#role;
    const { clock } = this.#env;
    const deliveries = await this.#calls.bus(() => member.next(this.#limit.records, WAIT_MS), stopping);
    if (deliveries.length === 0) return deliveries;
    this.#limit.got(deliveries.length);
    const endMs = clock.monotonicMs() + gatherMs;
    while (deliveries.length < this.#batchSize && !stopping.aborted) {
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0) break;
      try {
        const more = await member.next(this.#limit.records - deliveries.length, Math.min(leftMs, WAIT_MS));
        deliveries.push(...more);
      } catch {
        break; // what is in hand does not wait for the bus; the next read says what is wrong with it
      }
    }
    return deliveries;
  }

  #context(): BatchContext {
    return {
      group: this.#group,
      partitions: this.#bus.partitions(this.#topic),
      nowMicros: this.#env.clock.nowMicros(),
    };
  }

  /**
   * Store, then dead letters, then acknowledge: in this order an interruption loses nothing. Resolves when the batch is
   * stored, with the remaining work, which overlaps with the next batch's transaction.
   */
  async #write(member: GroupMember, batch: B, deliveries: readonly Delivery[]): Promise<Settle> {
    const { clock } = this.#env;
    const { signal } = this.#giveUp;
    const beganMs = clock.monotonicMs();
    const result = await storeTicks(this.#work.store, batch.ticks, this.#calls, signal);
    const durationMs = clock.monotonicMs() - beganMs;
    this.#limit.stored(batch.ticks.length, result.tooMany, durationMs);
    return async () => {
      const context = this.#context();
      const refused = result.refused.map(({ delivery, reason, detail }) =>
        refusedRecord(delivery, { reason, detail }, context),
      );
      const deadLetters = [...batch.refused, ...refused];
      await this.#work.committed?.(batch, result, signal);
      await this.#publishDeadLetters(deadLetters);
      await this.#acknowledge(member, deliveries);
      this.#work.wrote({ ...result, batch, deadLetters, durationMs });
    };
  }

  /**
   * Processes records one by one after so many deliveries that one of them may be what crashed its consumer. A record
   * with ALONE_MAX unfinished attempts becomes a dead letter, `poison`. Outages do not count: the attempt waits them out.
   */
  async #oneByOne(member: GroupMember, deliveries: readonly Delivery[]): Promise<void> {
    for (const delivery of deliveries) {
      const begun = await this.#calls.database(() => this.#begunAlone(delivery), this.#giveUp.signal);
      if (begun <= ALONE_MAX) {
        const batch = this.#work.sort([delivery], this.#context());
        const settle = await this.#write(member, batch, [delivery]);
        await settle();
        continue;
      }
      const detail = `begun ${begun} times alone, and its consumer ended each time`;
      const refused = [refusedRecord(delivery, { reason: 'poison', detail }, this.#context())];
      await this.#publishDeadLetters(refused);
      await this.#acknowledge(member, [delivery]);
      const nothing = { stored: 0, known: 0, refused: [], tooMany: null, durationMs: 0 };
      this.#work.wrote({ ...nothing, batch: this.#work.batchOf(refused), deadLetters: refused });
    }
  }

  #begunAlone({ topic, partition, position }: Delivery): Promise<number> {
    return this.#store.busCheckpoints.starting(topic, `${this.#group} alone`, partition, position);
  }

  async #publishDeadLetters(refused: readonly RefusedRecord[]): Promise<void> {
    if (refused.length === 0) return;
    const records = deadLetterRecords(refused);
    await this.#calls.bus(() => this.#bus.publish(DEAD_LETTER_TOPIC, records), this.#giveUp.signal);
  }

  #acknowledge(member: GroupMember, deliveries: readonly Delivery[]): Promise<void> {
    return this.#calls.bus(() => member.acknowledge(deliveries), this.#giveUp.signal);
  }

  async #leave(failure: Error | null): Promise<void> {
    await this.#beside?.close();
    try {
      if (this.#state.kind === 'consuming') await this.#state.member.leave();
    } catch {
      // the bus is down: another member takes over what is in flight
    }
    this.#env.log('info', `${this.#role.name} stopped`, { group: this.#group, consumer: this.#member });
    await this.#run.finish(failure?.message ?? null);
  }

  #lagMs(): Promise<number> {
    return this.#state.kind === 'consuming' ? this.#state.member.lagMs() : Promise.resolve(0);
  }

  #labels(): { topic: string; group: string; consumer: string } {
    return { topic: this.#topic, group: this.#group, consumer: this.#member };
  }
}
