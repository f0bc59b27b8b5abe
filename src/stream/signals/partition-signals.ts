import type { Env } from '../../core/env.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { PartitionRows } from '../../core/signal/partition-rows.ts';
import type { RowRules } from '../../core/signal/symbol-rows.ts';
import type { Delivery, PartitionReader, StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import { PartitionEvents } from '../partition-events.ts';
import { PartitionLife } from '../owned/life.ts';
import { Releases } from '../owned/releases.ts';
import type { PartitionWorker } from '../owned/partitions.ts';
import type { ServerCalls } from '../server-calls.ts';
import type { Evaluator } from './evaluator.ts';
import { StoredHistory } from './stored-history.ts';
import { StepPacing, type StepLimits } from './pacing.ts';
import type { SignalReport } from './report.ts';
import { StepWriter } from './step-writer.ts';

export interface PartitionSignalsOptions {
  bus: StreamBus;
  signals: SignalsStore;
  topic: string;
  signalsTopic: string;
  group: string;
  member: string;
  rules: RowRules;
  limits: StepLimits;
  /** how far back tick_data is read for a symbol that has no state, ms */
  primeMs: number;
  providers: Providers;
  evaluator: Evaluator;
  env: Env;
  calls: ServerCalls;
  report: SignalReport;
}

interface Work {
  rows: PartitionRows;
  writer: StepWriter;
  reader: PartitionReader;
  releases: Releases;
  pace: StepPacing;
  /** everything up to here had been read before the restart */
  readBefore: string | null;
}

/**
 * The signals of one partition, as long as this member owns it.
 *
 *   load states ─► read behind their entry ─► features (pure) ─► steps, one after the other, while the next entries are read
 *
 * All state here may be lost at any moment: the next owner goes on from the last checkpoint. Whatever it does again gives the
 * same signals.
 */
export class PartitionSignals implements PartitionWorker {
  readonly owned: OwnedPartition;
  readonly #options: PartitionSignalsOptions;
  readonly #events: PartitionEvents;
  readonly #history: StoredHistory;
  readonly #life: PartitionLife;
  #work: Work | null = null;
  /** the last entry taken */
  #position: string | null = null;
  #entries = 0;
  #forwarded = 0;
  #cut = 0;

  constructor(owned: OwnedPartition, options: PartitionSignalsOptions) {
    this.owned = owned;
    this.#options = options;
    this.#life = new PartitionLife(options.calls);
    const { signals, topic, group, primeMs, rules, report } = options;
    this.#history = new StoredHistory({
      signals,
      topic,
      group,
      primeMs,
      allowLateMs: rules.allowLateMs,
      report,
      store: this.#life.store,
    });
    this.#events = new PartitionEvents(options.bus, options.topic, options.providers);
  }

  get symbols(): number {
    return this.#work?.rows.symbols ?? 0;
  }

  /** Ticks that left windows early since the last call. */
  takeCut(): number {
    const cut = this.#work?.rows.cut ?? this.#cut;
    const count = cut - this.#cut;
    this.#cut = cut;
    return count;
  }

  /** Records forwarded to their symbol's partition since the last call. */
  takeForwarded(): number {
    const count = this.#events.forwarded - this.#forwarded;
    this.#forwarded += count;
    return count;
  }

  /**
   * Resolves after stop(), with what was taken committed if possible. Rejects when the partition was taken over
   * (SQLSTATE MDF01), or with a permanent error.
   */
  async run(): Promise<void> {
    try {
      await this.#life.during(async () => {
        const work = await this.#open();
        this.#work = work;
        await this.#loop(work);
        await this.#finish(work);
      });
    } finally {
      const work = this.#work;
      this.#work = null;
      await work?.reader.close().catch(() => {});
    }
  }

  /** Commits what was taken and ends. */
  stop(): void {
    this.#life.stop();
  }

  /** The partition has another owner: nothing more can be committed. */
  abandon(): void {
    this.#life.abandon();
  }

  async #open(): Promise<Work> {
    const { bus, signals, topic, group, member, rules, limits, env, evaluator, report } = this.#options;
    const { partition } = this.owned;
    const log = await this.#life.read(() => bus.logName(topic));
    const { shape } = rules.set;
    const place = { name: { topic, group }, held: this.owned };
    const state = await this.#life.store(() => signals.load(place, log, shape));
    const rows = new PartitionRows(rules, state.symbols);
    const after = state.stateAfter;
    const reader = await this.#life.read(() => bus.openPartition({ topic, group, member, partition, after }));
    const pace = new StepPacing(limits, env.clock.monotonicMs());
    const writer = new StepWriter(rows, state, log, {
      bus,
      signals,
      topic,
      signalsTopic: this.#options.signalsTopic,
      group,
      owned: this.owned,
      shape,
      evaluator,
      env,
      report,
      checkpointed: (tookMs) => pace.checkpointed(env.clock.monotonicMs(), tookMs),
      ask: this.#life.ask,
      store: this.#life.store,
    });
    this.#position = after;
    return { rows, writer, reader, releases: new Releases(reader), pace, readBefore: state.position };
  }

  async #loop(work: Work): Promise<void> {
    const { clock } = this.#options.env;
    const { rows, pace, writer } = work;
    let reading = this.#read(work);
    while (!this.#life.isStopping) {
      const deliveries = await reading;
      // when behind, the next read overlaps with this work
      const isBehind = deliveries.length >= pace.readCount;
      if (isBehind) reading = this.#read(work);
      if (this.#life.isStopping) return;
      await this.#take(work, deliveries);
      const nowMs = clock.monotonicMs();
      pace.took(deliveries.length, nowMs, work.reader.emptyAsOfMs);
      if (rows.closeIdle(pace.quietMs)) pace.settled();
      if (!writer.isCommitting) await writer.settled();
      const isFull = pace.isFull(rows.rowCount, rows.unstored);
      if (pace.isDue(nowMs, rows.rowCount, rows.unstored) && (!writer.isCommitting || isFull)) {
        await writer.settled();
        this.#commit(work, pace.isCheckpointDue(nowMs, rows.unstored));
      }
      work.releases.release(work.writer.stateAfter, nowMs);
      if (!isBehind) reading = this.#read(work);
    }
  }

  #read({ reader, pace, writer }: Work): Promise<Delivery[]> {
    const { env } = this.#options;
    const waitMs = pace.waitMs(env.clock.monotonicMs(), writer.isCommitting);
    const reading = this.#life.read(() => reader.next(pace.readCount, waitMs));
    reading.catch(() => {}); // handled when awaited in the next turn, if there is one
    return reading;
  }

  async #take({ rows, readBefore }: Work, deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    const { bus, report, env } = this.#options;
    const events = this.#events.parse(deliveries);
    const isOld = (position: string): boolean =>
      readBefore !== null && bus.compare(position, readBefore) <= 0;
    await this.#life.read(() => this.#events.forward(events, isOld));
    await this.#history.prime(rows, events);
    const seenLate = await this.#history.seenLate(events);
    const beganMs = env.clock.monotonicMs();
    const ticks: TickEvent[] = [];
    for (const { event, delivery } of events) {
      if (event === null) continue;
      if (event.kind === 'refused') report.refused(event.reason);
      else if (event.kind === 'bar') report.skipped('bar');
      else if (seenLate.has(event)) report.skipped('late');
      else {
        const outcome = rows.take(event, delivery.takenMs);
        if (outcome === 'known' || outcome === 'late') report.skipped(outcome);
        ticks.push(event);
      }
    }
    report.updated(ticks, env.clock.monotonicMs() - beganMs);
    await this.#judge(rows);
    this.#position = deliveries[deliveries.length - 1].position;
    this.#entries += deliveries.length;
  }

  /** Before anything of it is committed: a restart takes the same ticks again, and asks again. */
  async #judge(rows: PartitionRows): Promise<void> {
    const { report } = this.#options;
    const unsure = rows.takeUnsure();
    const late = await this.#history.lateOf(unsure);
    for (const tick of late) rows.addLate(tick);
    report.skipped('late', late.length);
    report.skipped('known', unsure.length - late.length);
  }

  #commit({ rows, writer, pace }: Work, withStates: boolean): void {
    if (this.#position === null) return;
    const step = {
      rows: rows.takeRows(),
      position: this.#position,
      entries: this.#entries,
      states: withStates ? rows.takeStates() : null,
    };
    this.#entries = 0;
    pace.stepped();
    if (withStates) pace.covered();
    writer.commit(step);
  }

  async #finish(work: Work): Promise<void> {
    const { writer, releases } = work;
    await writer.settled();
    if (this.#life.isGivenUp) return;
    this.#commit(work, true);
    await writer.settled();
    await releases.releaseLast(writer.stateAfter);
  }
}
