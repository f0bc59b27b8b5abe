import type { Env } from '../../core/env.ts';
import type { StreamBus } from '../../bus/bus.ts';
import type { OwnedPartition } from '../../bus/ownership.ts';
import { DEAD_LETTER_TOPIC, type RefusedRecord } from '../../core/market/dead-letter.ts';
import type { PartitionWindows } from '../../core/window/partition-windows.ts';
import type { BarRules } from '../../core/window/rules.ts';
import type { LateWindow, Resume, Step } from '../../core/window/step.ts';
import type { BarsStore } from '../../store/bars/bars-store.ts';
import type { BarsState } from '../../store/bars/state.ts';
import type { StepFrame } from '../../store/bars/step-statements.ts';
import type { BarsPolicy } from '../../store/bars/commit-step.ts';
import { OneAtATime } from '../owned/one-at-a-time.ts';
import type { BarReport } from './report.ts';
import { deadLetterRecords } from '../dead-letters/outgoing.ts';
import { LateWindows } from './late-windows.ts';

export interface StepWriterOptions {
  bus: StreamBus;
  bars: BarsStore;
  topic: string;
  group: string;
  owned: OwnedPartition;
  /** the group whose acknowledgements prove that tick_data has the ticks */
  tickGroup: string;
  rules: BarRules;
  env: Env;
  report: BarReport;
  /** Calls the bus until it answers; rejects when this partition is given up. */
  ask: <T>(call: () => Promise<T>) => Promise<T>;
  /** Calls the store until it answers; rejects when the partition was taken over or is given up. */
  store: <T>(call: () => Promise<T>) => Promise<T>;
}

/** how often late windows are checked, ms */
const REVISE_MS = 250;
/** pause between two corrections while more are due, ms */
const REVISE_MS_MIN = 5;
/** windows recomputed in one transaction; live windows wait for it */
const REVISE_MAX = 50;

/**
 * The transactions of one partition, one at a time, each with its number: steps, and corrections of late windows.
 */
export class StepWriter {
  readonly #options: StepWriterOptions;
  readonly #windows: PartitionWindows;
  readonly #late: LateWindows;
  readonly #log: string;
  #number: bigint;
  #resume: Resume;
  readonly #transactions = new OneAtATime();
  #revisedMs = -Infinity;
  #skipped = { ticks_seen: 0, overlaps: 0 };

  /** @param log the log that the positions belong to */
  constructor(windows: PartitionWindows, state: BarsState, log: string, options: StepWriterOptions) {
    this.#options = options;
    this.#windows = windows;
    this.#late = new LateWindows(state.late);
    this.#log = log;
    this.#number = state.step;
    this.#resume = state.resume;
  }

  get isCommitting(): boolean {
    return this.#transactions.isCommitting;
  }

  /** Something of the partition's log was read. */
  get hasPosition(): boolean {
    return this.#resume.position !== null;
  }

  get lateWindows(): number {
    return this.#late.size;
  }

  /** Time until late windows are checked again, ms; Infinity: there are none. */
  reviseWaitMs(nowMs: number): number {
    return this.#late.size === 0
      ? Infinity
      : Math.ceil(Math.max(REVISE_MS_MIN, this.#revisedMs + REVISE_MS - nowMs));
  }

  /** A restart reads from after this position; null: from the start. */
  get openAfter(): string | null {
    return this.#resume.openAfter;
  }

  /** Resolves when no transaction is in flight. Rejects with the error that ended the writer, from then on every time. */
  settled(): Promise<void> {
    return this.#transactions.settled();
  }

  /** Takes a step and begins its transaction; none may be in flight. Dead letters are published before it. */
  commit(deadLetters: readonly RefusedRecord[]): void {
    const step = this.#windows.takeStep();
    if (step.position === null) return;
    this.#number += 1n;
    this.#transactions.begin(this.#write(this.#frame(), step, deadLetters));
  }

  /** Recomputes late windows that the tick consumer has passed; no transaction may be in flight. */
  async reviseWhenDue(nowMs: number): Promise<void> {
    if (this.#late.size === 0 || nowMs - this.#revisedMs < REVISE_MS || !this.hasPosition) return;
    this.#revisedMs = nowMs;
    const due = this.#late.due(await this.#whatIsDue(), REVISE_MAX);
    if (due.length === 0) return;
    const { bars, env, report, store } = this.#options;
    const beganMs = env.clock.monotonicMs();
    this.#number += 1n;
    const frame = this.#frame();
    const revision = await store(() => bars.revise(frame, this.#resume, due, this.#policy));
    for (const row of revision.restore) this.#windows.restoreRollup(row);
    this.#late.remove(revision.done);
    if (due.length === REVISE_MAX || revision.done.length < due.length) this.#revisedMs = -Infinity; // more may be due
    report.revised(revision, env.clock.monotonicMs() - beganMs);
  }

  async #write(frame: StepFrame, step: Step, deadLetters: readonly RefusedRecord[]): Promise<void> {
    const { bus, bars, env, report, ask, store } = this.#options;
    if (deadLetters.length > 0) {
      const records = deadLetterRecords(deadLetters);
      await ask(() => bus.publish(DEAD_LETTER_TOPIC, records));
      report.deadLettered(deadLetters);
    }
    const beganMs = env.clock.monotonicMs();
    const result = await store(() => bars.commitStep(frame, step, this.#policy));
    for (const row of result.restore) this.#windows.restoreRollup(row);
    this.#late.add([...step.late, ...result.late]);
    const { position, openAfter, openCount } = step;
    this.#resume = { position, openAfter, openCount };
    report.committed(step, result, env.clock.monotonicMs() - beganMs);
    const { skipped } = this.#windows;
    for (const reason of ['ticks_seen', 'overlaps'] as const) {
      report.skipped(reason, skipped[reason] - this.#skipped[reason]);
      this.#skipped[reason] = skipped[reason];
    }
  }

  /** A window is due once it is closed and tick_data has its late ticks. */
  async #whatIsDue(): Promise<(window: LateWindow) => boolean> {
    const { bus, topic, tickGroup, owned } = this.#options;
    const groups = await bus.groups(topic).catch(() => []);
    const passed = groups.find(
      ({ group, partition }) => group === tickGroup && partition === owned.partition,
    )?.acknowledged;
    return ({ provider, symbol, endUs, position }) => {
      const closedUs = this.#windows.takenEndUs({ runId: 0n, provider, symbol });
      if (closedUs !== null && endUs > closedUs) return false;
      return position === null || (passed != null && bus.compare(position, passed) <= 0);
    };
  }

  #frame(): StepFrame {
    const { topic, group, owned } = this.#options;
    return { name: { topic, group }, held: owned, number: this.#number, log: this.#log };
  }

  get #policy(): BarsPolicy {
    const { windowMs, late } = this.#options.rules;
    return { windowMs, late, closedEndUs: (key) => this.#windows.takenEndUs(key) };
  }
}
