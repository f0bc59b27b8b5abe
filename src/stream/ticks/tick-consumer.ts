import { envOf, type Env } from '../../core/env.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import type { Delivery, GroupMember, StreamBus } from '../../bus/bus.ts';
import { DEAD_LETTER_TOPIC, type RefusedRecord } from '../../core/market/dead-letter.ts';
import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import { GroupInUseError, PartitionsDifferError } from '../../store/bus/partitions.ts';
import type { StoreClient } from '../../store/store-client.ts';
import { deadLetterRecords } from '../dead-letters.ts';
import { InboxMover } from '../inbox.ts';
import { JobRun } from '../job-run.ts';
import { NO_METER, type Meter } from '../meter.ts';
import { ServerCalls } from '../server-calls.ts';
import { StageLifecycle, type Stage } from '../stage.ts';
import { BatchLimit } from './batch-limit.ts';
import { refusedRecord, sortDeliveries, type BatchContext, type TickBatch } from './batch.ts';
import { InFlightBatches, type Settle } from './in-flight.ts';
import { COMPONENT, TickReport } from './report.ts';
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
  /** entries of a silent member are taken over after this, ms (default 30 s) */
  takeoverMs?: number;
  /** what is declared of providers; the micro-batcher needs the same. Default: nothing */
  providers?: ProviderDeclarations;
  /** is told when the bus refuses a dead letter, or an event of the inbox, for want of room */
  backpressure?: Backpressure;
  meter?: Meter;
  /** default: no log, the machine's clock */
  env?: Partial<Env>;
}

/** the role that owns the group: any other is refused */
const ROLE = 'tick_consumer';
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
 * The tick consumer: writes market ticks from the bus to tick_data, each once. Bars and replayed ticks are acknowledged
 * and left to other consumers; malformed, refused and conflicting events go to mdp.events.dlq.
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
 * Members share all partitions, as the writes commute. However it ends, unacknowledged records are redelivered, and rows
 * already stored are recognised.
 */
export class TickConsumer implements Stage {
  readonly #bus: StreamBus;
  readonly #store: StoreClient;
  readonly #topic: string;
  readonly #group: string;
  readonly #name: string;
  readonly #limit: BatchLimit;
  readonly #takeoverMs: number | undefined;
  readonly #providers: Providers;
  readonly #env: Env;
  readonly #calls: ServerCalls;
  readonly #run: JobRun;
  readonly #report: TickReport;
  readonly #lifecycle: StageLifecycle;
  readonly #giveUp = new AbortController();
  #state: State = { kind: 'claiming' };
  #inbox: InboxMover | null = null;
  #inboxFailure: Error | null = null;

  /** @throws RangeError when a provider's map of symbols cannot be used */
  constructor(options: TickConsumerOptions) {
    const meter = options.meter ?? NO_METER;
    this.#bus = options.bus;
    this.#store = options.storeClient;
    this.#topic = options.topic ?? 'mdp.events';
    this.#group = options.consumerGroup ?? 'tick-consumer';
    this.#name = options.consumerName ?? 'tick-1';
    this.#limit = new BatchLimit(options.batchSize ?? 100, options.batchMax ?? 5_000);
    this.#takeoverMs = options.takeoverMs;
    this.#providers = providersOf(options.providers);
    this.#env = envOf(options.env);
    const { backpressure } = options;
    const calls = { env: this.#env, meter, name: 'TickConsumer', component: COMPONENT, backpressure };
    this.#calls = new ServerCalls(calls);
    const labels = this.#labels();
    this.#run = new JobRun({
      env: this.#env,
      meter,
      jobRuns: this.#store.jobRuns,
      stage: 'ticks',
      start: { jobName: 'tick_consumer', metadata: labels },
      onBeat: async () => {
        this.#report.beat();
        meter.set('stream_consumer_lag_ms', labels, await this.#lagMs());
      },
    });
    this.#report = new TickReport(this.#env, meter, this.#run);
    this.#lifecycle = new StageLifecycle(
      () => this.#work(),
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

  async #work(): Promise<void> {
    this.#run.start();
    await this.#claim();
    this.#state = { kind: 'joining' };
    const member = await this.#join();
    const batches = new InFlightBatches();
    this.#state = { kind: 'consuming', member, batches };
    this.#inbox = await this.#startInbox();
    this.#env.log('info', 'TickConsumer started', this.#labels());
    try {
      while (!this.#lifecycle.stopping.aborted) {
        await this.#consume(this.#state);
        if (this.#inboxFailure !== null) throw this.#inboxFailure;
      }
    } finally {
      await batches.settled();
    }
  }

  #claim(): Promise<void> {
    const partitions = this.#bus.partitions(this.#topic);
    return this.#calls.database(
      () => this.#store.claimGroup(this.#topic, this.#group, ROLE, partitions),
      this.#lifecycle.stopping,
      (error) => !(error instanceof GroupInUseError || error instanceof PartitionsDifferError),
    );
  }

  #join(): Promise<GroupMember> {
    const takeoverMs = this.#takeoverMs;
    const member = {
      topic: this.#topic,
      group: this.#group,
      member: this.#name,
      ...(takeoverMs === undefined ? {} : { takeoverMs }),
    };
    return this.#calls.bus(() => this.#bus.join(member), this.#lifecycle.stopping);
  }

  #startInbox(): Promise<InboxMover | null> {
    const options = {
      bus: this.#bus,
      store: this.#store,
      topic: this.#topic,
      member: `${this.#group} ${this.#name}`,
      providers: this.#providers,
      onBroken: (error: Error) => (this.#inboxFailure = error),
      calls: this.#calls,
    };
    return InboxMover.start(options, this.#lifecycle.stopping);
  }

  /** Reads one batch and puts it in flight as soon as the previous one is stored. */
  async #consume(state: State & { kind: 'consuming' }): Promise<void> {
    const { member, batches } = state;
    const deliveries = await this.#calls.bus(
      () => member.next(this.#limit.records, WAIT_MS),
      this.#lifecycle.stopping,
    );
    if (deliveries.length === 0) return;
    this.#limit.got(deliveries.length);
    if (deliveries.some(({ attempts }) => attempts >= ALONE_FROM_ATTEMPTS)) {
      await batches.stored();
      await batches.addAlone(() => this.#oneByOne(member, deliveries));
    } else {
      const batch = this.#sort(deliveries);
      await batches.stored();
      await batches.add(() => this.#write(member, batch, deliveries));
    }
  }

  #sort(deliveries: readonly Delivery[]): TickBatch {
    return sortDeliveries(deliveries, this.#context(), this.#providers);
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
  async #write(member: GroupMember, batch: TickBatch, deliveries: readonly Delivery[]): Promise<Settle> {
    const { clock } = this.#env;
    const beganMs = clock.monotonicMs();
    const result = await storeTicks(this.#store, batch.ticks, this.#calls, this.#giveUp.signal);
    const durationMs = clock.monotonicMs() - beganMs;
    this.#limit.stored(batch.ticks.length, result.tooMany, durationMs);
    return async () => {
      const context = this.#context();
      const refused = result.refused.map(({ delivery, reason, detail }) =>
        refusedRecord(delivery, { reason, detail }, context),
      );
      const deadLetters = [...batch.refused, ...refused];
      await this.#publishDeadLetters(deadLetters);
      await this.#acknowledge(member, deliveries);
      this.#report.wrote({ ...result, batch, deadLetters, durationMs });
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
        const settle = await this.#write(member, this.#sort([delivery]), [delivery]);
        await settle();
        continue;
      }
      const detail = `begun ${begun} times alone, and its consumer ended each time`;
      const refused = [refusedRecord(delivery, { reason: 'poison', detail }, this.#context())];
      await this.#publishDeadLetters(refused);
      await this.#acknowledge(member, [delivery]);
      const batch: TickBatch = { ticks: [], refused, skipped: { bars: 0, replayed: 0, lost: 0 } };
      const nothing = { stored: 0, known: 0, refused: [], tooMany: null, durationMs: 0 };
      this.#report.wrote({ ...nothing, batch, deadLetters: refused });
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
    await this.#inbox?.close();
    try {
      if (this.#state.kind === 'consuming') await this.#state.member.leave();
    } catch {
      // the bus is down: another member takes over what is in flight
    }
    this.#env.log('info', 'TickConsumer stopped', { group: this.#group, consumer: this.#name });
    await this.#run.finish(failure?.message ?? null);
  }

  #lagMs(): Promise<number> {
    return this.#state.kind === 'consuming' ? this.#state.member.lagMs() : Promise.resolve(0);
  }

  #labels(): { topic: string; group: string; consumer: string } {
    return { topic: this.#topic, group: this.#group, consumer: this.#name };
  }
}
