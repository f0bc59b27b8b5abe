import type { Env } from '../../core/env.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { PartitionRows } from '../../core/signal/partition-rows.ts';
import type { RowRules } from '../../core/signal/symbol-rows.ts';
import type { Delivery, PartitionReader, StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import { isFenced, sqlstateOf } from '../../store/postgres/sqlstate.ts';
import { PartitionEvents } from '../partition-events.ts';
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

/** how long stop() waits for what is in flight, ms; after that the next owner repeats it */
const DRAIN_MS = 8_000;
/** raised by signals_begin_step when steps are not consecutive; the partition is reloaded */
const ASSERT_FAILURE = 'P0004';
/** how often the bus is told up to where it may trim, ms */
const RELEASE_MS = 200;

interface Work {
  rows: PartitionRows;
  writer: StepWriter;
  reader: PartitionReader;
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
export class PartitionSignals {
  readonly owned: OwnedPartition;
  readonly #options: PartitionSignalsOptions;
  readonly #events: PartitionEvents;
  readonly #history: StoredHistory;
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();
  #work: Work | null = null;
  /** the last entry taken */
  #position: string | null = null;
  #entries = 0;
  #released: string | null = null;
  #releasedMs = -Infinity;
  #forwarded = 0;
  #cut = 0;

  constructor(owned: OwnedPartition, options: PartitionSignalsOptions) {
    this.owned = owned;
    this.#options = options;
    const { signals, group, primeMs, rules, report } = options;
    this.#history = new StoredHistory({
      signals,
      group,
      primeMs,
      allowLateMs: rules.allowLateMs,
      report,
      store: (call) => this.#store(call),
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
      const work = await this.#open();
      this.#work = work;
      await this.#loop(work);
      await this.#finish(work);
    } catch (error) {
      // the next owner repeats what was not committed
      if (!this.#stopping.signal.aborted || isFenced(error)) throw error;
    } finally {
      const work = this.#work;
      this.#work = null;
      await work?.reader.close().catch(() => {});
    }
  }

  /** Commits what was taken and ends. */
  stop(): void {
    this.#stopping.abort();
    setTimeout(() => this.#giveUp.abort(), DRAIN_MS).unref();
  }

  /** The partition has another owner: nothing more can be committed. */
  abandon(): void {
    this.#giveUp.abort();
    this.#stopping.abort();
  }

  async #open(): Promise<Work> {
    const { bus, signals, topic, group, member, rules, limits, calls, env, evaluator, report } =
      this.#options;
    const { partition } = this.owned;
    const stopping = this.#stopping.signal;
    const log = await calls.bus(() => bus.logName(topic), stopping);
    const { shape } = rules.set;
    const place = { name: { topic, group }, held: this.owned };
    const state = await this.#store(() => signals.load(place, log, shape));
    const rows = new PartitionRows(rules, state.symbols);
    const after = state.stateAfter;
    const reader = await calls.bus(
      () => bus.openPartition({ topic, group, member, partition, after }),
      stopping,
    );
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
      ask: (call) => calls.bus(call, this.#giveUp.signal),
      store: (call) => this.#store(call),
    });
    this.#position = after;
    return { rows, writer, reader, pace, readBefore: state.position };
  }

  async #loop(work: Work): Promise<void> {
    const { clock } = this.#options.env;
    const { rows, pace, writer } = work;
    const stopping = this.#stopping.signal;
    let reading = this.#read(work);
    while (!stopping.aborted) {
      const deliveries = await reading;
      // when behind, the next read overlaps with this work
      const isBehind = deliveries.length >= pace.readCount;
      if (isBehind) reading = this.#read(work);
      if (stopping.aborted) return;
      await this.#take(work, deliveries);
      const nowMs = clock.monotonicMs();
      pace.took(deliveries.length, nowMs, work.reader.emptyAsOfMs);
      if (rows.closeIdle(pace.quietMs)) pace.settled();
      if (!writer.isCommitting) await writer.settled();
      if (pace.isDue(nowMs, rows.rowCount) && (!writer.isCommitting || pace.isFull(rows.rowCount))) {
        await writer.settled();
        this.#commit(work, pace.isCheckpointDue(nowMs));
      }
      this.#release(work, nowMs);
      if (!isBehind) reading = this.#read(work);
    }
  }

  #read({ reader, pace, writer }: Work): Promise<Delivery[]> {
    const { env, calls } = this.#options;
    const waitMs = pace.waitMs(env.clock.monotonicMs(), writer.isCommitting);
    const reading = calls.bus(() => reader.next(pace.readCount, waitMs), this.#stopping.signal);
    reading.catch(() => {}); // handled when awaited in the next turn, if there is one
    return reading;
  }

  async #take({ rows, readBefore }: Work, deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    const { bus, calls, report, env } = this.#options;
    const events = this.#events.parse(deliveries);
    const isOld = (position: string): boolean =>
      readBefore !== null && bus.compare(position, readBefore) <= 0;
    await calls.bus(() => this.#events.forward(events, isOld), this.#stopping.signal);
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
        if (outcome !== 'applied') report.skipped(outcome);
        ticks.push(event);
      }
    }
    report.updated(ticks, env.clock.monotonicMs() - beganMs);
    this.#position = deliveries[deliveries.length - 1].position;
    this.#entries += deliveries.length;
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

  /** Entries that no restart would read again may be trimmed. A failed release is repeated by the next one. */
  #release({ reader, writer }: Work, nowMs: number): void {
    const { stateAfter } = writer;
    if (stateAfter === null || stateAfter === this.#released || nowMs - this.#releasedMs < RELEASE_MS) return;
    this.#releasedMs = nowMs;
    this.#released = stateAfter;
    reader.release(stateAfter).catch(() => (this.#released = null));
  }

  async #finish(work: Work): Promise<void> {
    const { writer, reader } = work;
    await writer.settled();
    if (this.#giveUp.signal.aborted) return;
    this.#commit(work, true);
    await writer.settled();
    if (writer.stateAfter !== null) await reader.release(writer.stateAfter);
  }

  #store<T>(call: () => Promise<T>): Promise<T> {
    return this.#options.calls.database(call, this.#giveUp.signal, isPassing);
  }
}

/** False when the partition was taken over or its steps are not consecutive. */
function isPassing(error: unknown): boolean {
  return !isFenced(error) && sqlstateOf(error) !== ASSERT_FAILURE;
}
