import type { Env } from '../../core/env.ts';
import type { LateTick, PartitionRows, SymbolState } from '../../core/signal/partition-rows.ts';
import { signalId, signalJson, type Signal } from '../../core/signal/signal.ts';
import type { OutgoingRecord, StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import type { SignalsStore } from '../../store/signals/signals-store.ts';
import type { SignalFrame, SignalState } from '../../store/signals/state.ts';
import { OneAtATime } from '../owned/one-at-a-time.ts';
import type { Evaluator } from './evaluator.ts';
import type { SignalReport } from './report.ts';
import type { SignalStep } from './step.ts';

export interface StepWriterOptions {
  bus: StreamBus;
  signals: SignalsStore;
  topic: string;
  signalsTopic: string;
  group: string;
  owned: OwnedPartition;
  shape: string;
  evaluator: Evaluator;
  env: Env;
  report: SignalReport;
  checkpointed: (tookMs: number) => void;
  /** Calls the bus until it answers; rejects when this partition is given up. */
  ask: <T>(call: () => Promise<T>) => Promise<T>;
  /** Calls the store until it answers; rejects when the partition was taken over or is given up. */
  store: <T>(call: () => Promise<T>) => Promise<T>;
}

/** signals published at once */
const PUBLISH_MAX = 1_000;

/**
 * The steps of one partition, one at a time:
 *
 *   looks ─► evaluator ─► one transaction: fence · number · position · signals ─► published, while the next one commits
 *         ─► now and then a transaction of its own: the symbols' states, and the entry that they are of
 *
 * A restart goes on behind the states: signals since then come again, are in the table already, and are published again. So a
 * signal is once in the table, and at least once on the bus, also when this ends between the two.
 */
export class StepWriter {
  readonly #options: StepWriterOptions;
  readonly #rows: PartitionRows;
  readonly #log: string;
  /** signals of entries up to here may be stored */
  #knownUpTo: string | null;
  #number: bigint;
  #stateAfter: string | null;
  #late: LateTick[] = [];
  readonly #transactions = new OneAtATime();
  /** of the step before */
  #published: Promise<void> = Promise.resolve();

  constructor(rows: PartitionRows, state: SignalState, log: string, options: StepWriterOptions) {
    this.#options = options;
    this.#rows = rows;
    this.#log = log;
    this.#number = state.step;
    this.#stateAfter = state.stateAfter;
    this.#knownUpTo = state.position;
  }

  get isCommitting(): boolean {
    return this.#transactions.isCommitting;
  }

  /** A restart reads behind this entry; null: from the start. */
  get stateAfter(): string | null {
    return this.#stateAfter;
  }

  /** Resolves when nothing is in flight. Rejects with the error that ended the writer, from then on every time. */
  settled(): Promise<void> {
    return this.#transactions.settled();
  }

  /** Begins a step; none may be in flight. */
  commit(step: SignalStep): void {
    this.#transactions.begin(this.#write(step));
  }

  async #write(step: SignalStep): Promise<void> {
    const { evaluator, report, env } = this.#options;
    const beganMs = env.clock.monotonicMs();
    const signals = step.rows.length === 0 ? [] : await evaluator.evaluate(step.rows, this.#facts);
    report.evaluated(evaluator.adapter, step.rows.length, signals, env.clock.monotonicMs() - beganMs);
    const stored = await this.#store(step, signals);
    // in order, and one step's at a time: while it is under way, the next one's transaction may be
    await this.#published;
    this.#published = this.#publish(stored);
    this.#published.catch(() => {}); // the next step, or the end, says so
    this.#late.push(...this.#rows.takeLate());
    if (step.states === null) return;
    await this.#published;
    await this.#checkpoint(step.position, step.states);
  }

  readonly #facts = {
    get: (key: Parameters<PartitionRows['facts']>[0]) => this.#rows.facts(key),
    set: (key: Parameters<PartitionRows['facts']>[0], facts: readonly string[]) =>
      this.#rows.setFacts(key, facts),
  };

  /** Returns the signals as they are in the table now. */
  async #store(step: SignalStep, signals: readonly Signal[]): Promise<readonly Signal[]> {
    const { signals: store, bus, report, env } = this.#options;
    const areKnown = signals.length > 0 && this.#mayBeStored(bus, step);
    const frame = this.#frame(step.position);
    const beganMs = env.clock.monotonicMs();
    const result = await this.#options.store(() =>
      store.write(signals, frame, areKnown).catch((error: unknown) => {
        report.failed(signals);
        throw error;
      }),
    );
    report.stored(step, signals, result, env.clock.monotonicMs() - beganMs);
    if (result.differing.length === 0) return signals;
    const differing = new Map(result.differing.map((signal) => [signalId(signal), signal]));
    return signals.map((signal) => differing.get(signalId(signal)) ?? signal);
  }

  /** Up to the entry that was committed before the restart; a step may begin before it and end behind it. */
  #mayBeStored(bus: StreamBus, { position }: SignalStep): boolean {
    if (this.#knownUpTo === null) return false;
    if (bus.compare(position, this.#knownUpTo) >= 0) this.#knownUpTo = null;
    return true;
  }

  async #publish(signals: readonly Signal[]): Promise<void> {
    const { bus, signalsTopic, ask } = this.#options;
    for (let from = 0; from < signals.length; from += PUBLISH_MAX) {
      const records = signals.slice(from, from + PUBLISH_MAX).map(recordOf);
      await ask(() => bus.publish(signalsTopic, records));
    }
  }

  async #checkpoint(position: string, states: NonNullable<SignalStep['states']>): Promise<void> {
    const { signals: store, shape, env, checkpointed } = this.#options;
    const beganMs = env.clock.monotonicMs();
    const symbols: SymbolState[] = states.map((state) => ({ ...state, facts: this.#rows.facts(state) }));
    const checkpoint = { stateAfter: position, symbols, late: this.#late };
    const frame = this.#frame(position);
    await this.#options.store(() => store.checkpoint(frame, checkpoint, shape));
    this.#late = [];
    this.#stateAfter = position;
    checkpointed(env.clock.monotonicMs() - beganMs);
  }

  /** Numbers the next transaction. */
  #frame(position: string): SignalFrame {
    this.#number += 1n;
    const { topic, group, owned } = this.#options;
    return { name: { topic, group }, held: owned, number: this.#number, log: this.#log, position };
  }
}

function recordOf(signal: Signal): OutgoingRecord {
  const eventId = signalId(signal);
  return { key: signal.symbol, eventId, data: Buffer.from(signalJson(signal, eventId)), encoding: 'json' };
}
