import { BusError, type Delivery, type PartitionReader, type StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import { PartitionWindows } from '../../core/window/partition-windows.ts';
import type { BarRules, Fate } from '../../core/window/rules.ts';
import type { Clock } from '../../core/time.ts';
import type { BarsStore } from '../../store/bars/bars-store.ts';
import { isFenced, sqlstateOf } from '../../store/postgres/sqlstate.ts';
import type { BarRun } from './report.ts';
import { PartitionEvents, type PartitionEvent } from './partition-events.ts';
import { retrying, type RetryPolicy } from '../retry.ts';
import { StepPace, type PaceLimits } from './pacing.ts';
import { StepWriter } from './step-writer.ts';
import { refusedRecord } from '../ticks/batch.ts';

export interface PartitionBatcherOptions {
  bus: StreamBus;
  bars: BarsStore;
  topic: string;
  group: string;
  member: string;
  tickGroup: string;
  rules: BarRules;
  limits: PaceLimits;
  run: BarRun;
  clock: Clock;
}

const BACKOFF = { firstMs: 100, maxMs: 5_000 };
/** what is under way when it stops is given so long; then the next owner does it again */
const DRAIN_MS = 8_000;
/** bars_begin_step: steps do not follow each other; the partition is loaded anew */
const ASSERT_FAILURE = 'P0004';
/** how often the bus is told what it may trim, ms */
const RELEASE_MS = 200;

const LATE_DETAIL = {
  late: 'src_ts lies in a window that is closed',
  too_late: 'src_ts lies in a window that is closed, beyond the horizon of revisions',
};

/** What a partition is worked on with, once its state is loaded. */
interface Work {
  windows: PartitionWindows;
  writer: StepWriter;
  reader: PartitionReader;
}

/**
 * The bars of one partition, as long as this member owns it.
 *
 *   load state ─► read from where the oldest open window began
 *        entries ─► windows (pure) ─► step: dead letters, then one transaction, while the next entries are read
 *        late windows ─► once the tick consumer has passed them: recomputed, as a step of its own
 *
 * Everything here may be lost at any moment: the next owner goes on from the last step.
 */
export class PartitionBatcher {
  readonly owned: OwnedPartition;
  readonly #options: PartitionBatcherOptions;
  readonly #events: PartitionEvents;
  readonly #stopping = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #pace: StepPace;
  #work: Work | null = null;
  #letters: RefusedRecord[] = [];
  #released: string | null = null;
  #releasedMs = -Infinity;
  #forwarded = 0;

  constructor(owned: OwnedPartition, options: PartitionBatcherOptions) {
    this.owned = owned;
    this.#options = options;
    this.#events = new PartitionEvents(options.bus, options.topic);
    this.#pace = new StepPace(options.limits);
  }

  get activeWindows(): number {
    return this.#work?.windows.activeWindows ?? 0;
  }

  get lateWindows(): number {
    return this.#work?.writer.lateWindows ?? 0;
  }

  /** Records published to the partition of their symbol, since the last call. */
  takeForwarded(): number {
    const count = this.#events.forwarded - this.#forwarded;
    this.#forwarded += count;
    return count;
  }

  /**
   * Resolves after stop(), with what was closed committed where that could be done. Rejects when the partition was taken
   * over (SQLSTATE MDF01), or with what waiting does not mend.
   */
  async run(): Promise<void> {
    try {
      const work = await this.#open();
      this.#work = work;
      await this.#loop(work);
      await this.#finish(work);
    } catch (error) {
      // what was not committed is done again by the next owner
      if (!this.#stopping.signal.aborted || isFenced(error)) throw error;
    } finally {
      await this.#work?.reader.close().catch(() => {});
    }
  }

  /** Commits what is closed and ends. */
  stop(): void {
    this.#stopping.abort();
    setTimeout(() => this.#giveUp.abort(), DRAIN_MS).unref();
  }

  /** The partition is somebody else's: nothing more can be committed. */
  abandon(): void {
    this.#giveUp.abort();
    this.#stopping.abort();
  }

  async #open(): Promise<Work> {
    const { bus, bars, topic, group, member, rules } = this.#options;
    const { partition, position } = this.owned;
    const stopping = this.#stopping.signal;
    const log = await this.#ask(() => bus.logName(topic), stopping);
    const place = { name: { topic, group }, held: this.owned };
    const state = await this.#store(() => bars.load(place, position, log, rules.windowMs));
    const windows = new PartitionWindows(rules, state.resume, state.symbols, (a, b) => bus.compare(a, b));
    const after = state.resume.openAfter;
    const reader = await this.#ask(
      () => bus.openPartition({ topic, group, member, partition, after }),
      stopping,
    );
    const writer = new StepWriter(windows, state, log, {
      ...this.#options,
      owned: this.owned,
      ask: (call) => this.#ask(call, this.#giveUp.signal),
      store: (call) => this.#store(call),
    });
    return { windows, writer, reader };
  }

  async #loop(work: Work): Promise<void> {
    const { clock } = this.#options;
    const stopping = this.#stopping.signal;
    let reading = this.#read(work);
    while (!stopping.aborted) {
      const deliveries = await reading;
      // while there is more, it is read beside the work on this; how long to wait for more depends on that work
      const isBehind = deliveries.length >= this.#pace.readCount;
      if (isBehind) reading = this.#read(work);
      if (stopping.aborted) return;
      await this.#take(work.windows, deliveries);
      const nowMs = clock.monotonicMs();
      this.#pace.took(deliveries.length, nowMs);
      work.windows.closeIdle(this.#pace.quietMs(nowMs));
      await this.#stepWhenDue(work, nowMs);
      if (!work.writer.isCommitting && !work.windows.isRebuilding) await work.writer.reviseWhenDue(nowMs);
      this.#release(work, nowMs);
      if (!isBehind) reading = this.#read(work);
    }
  }

  #read({ reader, windows, writer }: Work): Promise<Delivery[]> {
    const nowMs = this.#options.clock.monotonicMs();
    const waitMs = Math.min(this.#pace.waitMs(nowMs, windows), writer.reviseWaitMs(nowMs));
    const reading = this.#ask(() => reader.next(this.#pace.readCount, waitMs), this.#stopping.signal);
    reading.catch(() => {}); // met in the next turn, or in none when it stops
    return reading;
  }

  async #take(windows: PartitionWindows, deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) windows.caughtUp();
    const events = this.#events.parse(deliveries);
    const isOld = (position: string): boolean => windows.isOld(position);
    await this.#ask(() => this.#events.forward(events, isOld), this.#stopping.signal);
    const fates = new Map<Fate, number>();
    for (const each of events) {
      const fate = this.#apply(windows, each);
      if (fate !== null && fate !== 'counted') fates.set(fate, (fates.get(fate) ?? 0) + 1);
    }
    const { run, topic } = this.#options;
    for (const [fate, count] of fates) run.judged(fate, count);
    if (windows.lostEntries > 0) run.lost(windows.lostEntries, { topic, partition: this.owned.partition });
    windows.lostEntries = 0;
  }

  #apply(windows: PartitionWindows, { delivery, event }: PartitionEvent): Fate | null {
    const { position, takenMs } = delivery;
    const isOld = windows.isOld(position);
    if (event === null || event.kind === 'refused') {
      windows.apply(position, takenMs, null);
      if (event !== null && !isOld) this.#putAside(delivery, event.reason, event.detail);
      return null;
    }
    const fate = windows.apply(position, takenMs, event);
    // what came late before the restart was judged then; late by now is what windows of another length had open
    if (isOld && fate !== 'late' && fate !== 'too_late') return null;
    if (fate === 'conflict') {
      const detail = 'an event of this id came before with another content, which stays';
      this.#putAside(delivery, fate, detail);
    } else if (fate === 'late' || fate === 'too_late') {
      this.#putAside(delivery, fate, LATE_DETAIL[fate]);
    }
    return fate;
  }

  #putAside(delivery: Delivery, reason: RefusedRecord['reason'], detail: string): void {
    const { bus, topic, group, clock } = this.#options;
    const context = { group, partitions: bus.partitions(topic), nowMicros: clock.nowMicros() };
    this.#letters.push(refusedRecord(delivery, { reason, detail }, context));
  }

  /** Entries are taken while a transaction is under way, up to the size of the next one. */
  async #stepWhenDue({ windows, writer }: Work, nowMs: number): Promise<void> {
    if (!writer.isCommitting) await writer.settled();
    if (windows.isRebuilding || !this.#pace.isDue(nowMs, windows, this.#letters.length > 0)) return;
    if (writer.isCommitting && !this.#pace.isFull(windows)) return;
    await writer.settled();
    this.#commit(writer);
  }

  #commit(writer: StepWriter): void {
    const letters = this.#letters;
    this.#letters = [];
    this.#pace.stepped();
    writer.commit(letters);
  }

  /** What no restart would read again may be trimmed. A release that fails is said again by the next one. */
  #release({ reader, writer }: Work, nowMs: number): void {
    const { openAfter } = writer;
    if (openAfter === null || openAfter === this.#released || nowMs - this.#releasedMs < RELEASE_MS) return;
    this.#releasedMs = nowMs;
    this.#released = openAfter;
    reader.release(openAfter).catch(() => (this.#released = null));
  }

  async #finish({ windows, writer, reader }: Work): Promise<void> {
    await writer.settled();
    const isWorth = windows.hasWork || windows.eventsSinceStep > 0;
    if (isWorth && !windows.isRebuilding && !this.#giveUp.signal.aborted) {
      this.#commit(writer);
      await writer.settled();
    }
    const { openAfter } = writer;
    if (openAfter !== null) await reader.release(openAfter);
  }

  #ask<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return retrying(call, {
      ...this.#retry('bus', signal),
      mayPass: (error) =>
        error instanceof BusError && (error.kind === 'unreachable' || error.kind === 'full'),
    });
  }

  #store<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, {
      ...this.#retry('database', this.#giveUp.signal),
      mayPass: (error) => !isFenced(error) && sqlstateOf(error) !== ASSERT_FAILURE,
    });
  }

  #retry(component: 'bus' | 'database', signal: AbortSignal): Omit<RetryPolicy, 'mayPass'> {
    return {
      backoff: BACKOFF,
      random: Math.random,
      signal,
      onRetry: (error, waitMs) => this.#options.run.retried(component, error as Error, waitMs),
    };
  }
}
