import type { Env } from '../../core/env.ts';
import type { Delivery, PartitionReader, StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { RefusedRecord } from '../../core/market/dead-letter.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { PartitionWindows } from '../../core/window/partition-windows.ts';
import type { BarRules, EventOutcome } from '../../core/window/rules.ts';
import type { BarsStore } from '../../store/bars/bars-store.ts';
import { ContestedMinutes } from './contested-minutes.ts';
import type { BarReport } from './report.ts';
import { PartitionEvents, type PartitionEvent } from '../partition-events.ts';
import { PartitionLife } from '../owned/life.ts';
import { Releases } from '../owned/releases.ts';
import type { PartitionWorker } from '../owned/partitions.ts';
import type { ServerCalls } from '../server-calls.ts';
import { StepPacing, type StepLimits } from './pacing.ts';
import { StepWriter } from './step-writer.ts';
import { refusedRecord } from '../shared/batch.ts';

export interface PartitionBatcherOptions {
  bus: StreamBus;
  bars: BarsStore;
  topic: string;
  group: string;
  member: string;
  tickGroup: string;
  rules: BarRules;
  limits: StepLimits;
  providers: Providers;
  env: Env;
  calls: ServerCalls;
  report: BarReport;
}

const LATE_DETAIL = {
  late: 'src_ts lies in a window that is closed',
  too_late: 'src_ts lies in a window that is closed, beyond the horizon of revisions',
};

/** What a partition needs once its state is loaded. */
interface Work {
  windows: PartitionWindows;
  writer: StepWriter;
  reader: PartitionReader;
  releases: Releases;
  /** null: late events are not corrected */
  contested: ContestedMinutes | null;
}

type State = { kind: 'loading' } | { kind: 'working'; work: Work } | { kind: 'ended' };

/**
 * The bars of one partition, as long as this member owns it.
 *
 *   load state ─► read from where the oldest open window starts
 *        entries ─► windows (pure) ─► step: dead letters, then one transaction, while the next entries are read
 *        late windows ─► once the tick consumer has passed them: recomputed in a transaction of their own
 *
 *   state    event                                          next
 *   loading  state, log and reader are loaded                working
 *   loading  stop(), abandon()                               ended
 *   working  stop()                                          ended    after a last step, within DRAIN_MS
 *   working  abandon(), fenced, or a permanent error         ended    at once
 *
 * All state here may be lost at any moment: the next owner resumes from the last step.
 */
export class PartitionBatcher implements PartitionWorker {
  readonly owned: OwnedPartition;
  readonly #options: PartitionBatcherOptions;
  readonly #events: PartitionEvents;
  readonly #life: PartitionLife;
  readonly #pace: StepPacing;
  #state: State = { kind: 'loading' };
  /** to be published before the next step's transaction */
  #deadLetters: RefusedRecord[] = [];
  #forwarded = 0;

  constructor(owned: OwnedPartition, options: PartitionBatcherOptions) {
    this.owned = owned;
    this.#options = options;
    this.#life = new PartitionLife(options.calls);
    this.#events = new PartitionEvents(options.bus, options.topic, options.providers);
    this.#pace = new StepPacing(options.limits);
  }

  get activeWindows(): number {
    return this.#work?.windows.activeWindows ?? 0;
  }

  get lateWindows(): number {
    return this.#work?.writer.lateWindows ?? 0;
  }

  /** Records forwarded to their symbol's partition since the last call. */
  takeForwarded(): number {
    const count = this.#events.forwarded - this.#forwarded;
    this.#forwarded += count;
    return count;
  }

  /**
   * Resolves after stop(), with closed windows committed if possible. Rejects when the partition was taken over
   * (SQLSTATE MDF01), or with a permanent error.
   */
  async run(): Promise<void> {
    try {
      await this.#life.during(async () => {
        const work = await this.#open();
        this.#state = { kind: 'working', work };
        await this.#loop(work);
        await this.#finish(work);
      });
    } finally {
      const work = this.#work;
      this.#state = { kind: 'ended' };
      await work?.reader.close().catch(() => {});
    }
  }

  /** Commits closed windows and ends. */
  stop(): void {
    this.#life.stop();
  }

  /** The partition has another owner: nothing more can be committed. */
  abandon(): void {
    this.#life.abandon();
  }

  async #open(): Promise<Work> {
    const { bus, bars, topic, group, member, rules } = this.#options;
    const { partition, position } = this.owned;
    const log = await this.#life.read(() => bus.logName(topic));
    const place = { name: { topic, group }, held: this.owned };
    const state = await this.#life.store(() => bars.load(place, position, log, rules.windowMs));
    const windows = new PartitionWindows(rules, state.resume, state.symbols, (a, b) => bus.compare(a, b));
    const after = state.resume.openAfter;
    const reader = await this.#life.read(() => bus.openPartition({ topic, group, member, partition, after }));
    const writer = new StepWriter(windows, state, log, {
      ...this.#options,
      owned: this.owned,
      ask: this.#life.ask,
      store: this.#life.store,
    });
    const contested = new ContestedMinutes({
      bars,
      place,
      partitions: bus.partitions(topic),
      windows,
      store: this.#life.store,
    });
    const releases = new Releases(reader);
    return { windows, writer, reader, releases, contested: rules.late === 'revise' ? contested : null };
  }

  async #loop(work: Work): Promise<void> {
    const { clock } = this.#options.env;
    let reading = this.#read(work);
    while (!this.#life.isStopping) {
      const deliveries = await reading;
      // when behind, the next read overlaps with this work; otherwise how long it waits depends on this work
      const isBehind = deliveries.length >= this.#pace.readCount;
      if (isBehind) reading = this.#read(work);
      if (this.#life.isStopping) return;
      await this.#take(work.windows, deliveries);
      const nowMs = clock.monotonicMs();
      this.#pace.took(deliveries.length, nowMs);
      work.windows.closeIdle(this.#pace.quietMs(work.reader.emptyAsOfMs));
      await this.#stepWhenDue(work, nowMs);
      if (!work.writer.isCommitting && !work.windows.isRebuilding && work.writer.hasPosition) {
        await work.writer.reviseWhenDue(nowMs);
        await work.contested?.lookWhenDue(nowMs, deliveries.length === 0);
      }
      work.releases.release(work.writer.openAfter, nowMs);
      if (!isBehind) reading = this.#read(work);
    }
  }

  #read({ reader, windows, writer }: Work): Promise<Delivery[]> {
    const { env } = this.#options;
    const nowMs = env.clock.monotonicMs();
    const waitMs = Math.min(this.#pace.waitMs(nowMs, windows), writer.reviseWaitMs(nowMs));
    const reading = this.#life.read(() => reader.next(this.#pace.readCount, waitMs));
    reading.catch(() => {}); // handled when awaited in the next turn, if there is one
    return reading;
  }

  async #take(windows: PartitionWindows, deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) windows.caughtUp();
    const events = this.#events.parse(deliveries);
    const isOld = (position: string): boolean => windows.isOld(position);
    const { report, topic } = this.#options;
    await this.#life.read(() => this.#events.forward(events, isOld));
    const counts = new Map<EventOutcome, number>();
    for (const each of events) {
      const outcome = this.#apply(windows, each);
      if (outcome !== null && outcome !== 'counted') counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    for (const [outcome, count] of counts) report.judged(outcome, count);
    if (windows.lostEntries > 0) report.lost(windows.lostEntries, { topic, partition: this.owned.partition });
    windows.lostEntries = 0;
  }

  #apply(windows: PartitionWindows, { delivery, event }: PartitionEvent): EventOutcome | null {
    const { position, takenMs } = delivery;
    const isOld = windows.isOld(position);
    if (event === null || event.kind === 'refused') {
      windows.apply(position, takenMs, null);
      if (event !== null && !isOld) this.#refuse(delivery, event.reason, event.detail);
      return null;
    }
    if (event.notes !== undefined && !isOld) this.#options.report.altered(event);
    const outcome = windows.apply(position, takenMs, event);
    // late events were handled before the restart; 'late' now means that a window of the former length was still open
    if (isOld && outcome !== 'late' && outcome !== 'too_late') return null;
    if (outcome === 'conflict') {
      const detail = 'an event of this id came before with another content, which stays';
      this.#refuse(delivery, outcome, detail);
    } else if (outcome === 'late' || outcome === 'too_late') {
      this.#refuse(delivery, outcome, LATE_DETAIL[outcome]);
    } else if ((outcome === 'too_long' || outcome === 'straddles') && event.kind === 'bar') {
      this.#options.report.unfit.add(event, outcome);
    }
    return outcome;
  }

  /** Its dead letter goes out before the next step. */
  #refuse(delivery: Delivery, reason: RefusedRecord['reason'], detail: string): void {
    const { bus, topic, group, env } = this.#options;
    const context = { group, partitions: bus.partitions(topic), nowMicros: env.clock.nowMicros() };
    this.#deadLetters.push(refusedRecord(delivery, { reason, detail }, context));
  }

  /** While a transaction is in flight, entries are still taken, up to the size of the next one. */
  async #stepWhenDue({ windows, writer }: Work, nowMs: number): Promise<void> {
    if (!writer.isCommitting) await writer.settled();
    if (windows.isRebuilding || !this.#pace.isDue(nowMs, windows, this.#deadLetters.length > 0)) return;
    if (writer.isCommitting && !this.#pace.isFull(windows)) return;
    await writer.settled();
    this.#commit(writer);
  }

  #commit(writer: StepWriter): void {
    const deadLetters = this.#deadLetters;
    this.#deadLetters = [];
    this.#pace.stepped();
    writer.commit(deadLetters);
  }

  async #finish({ windows, writer, releases }: Work): Promise<void> {
    await writer.settled();
    const hasStep = windows.hasWork || windows.eventsSinceStep > 0;
    if (hasStep && !windows.isRebuilding && !this.#life.isGivenUp) {
      this.#commit(writer);
      await writer.settled();
    }
    await releases.releaseLast(writer.openAfter);
  }

  get #work(): Work | null {
    return this.#state.kind === 'working' ? this.#state.work : null;
  }
}
