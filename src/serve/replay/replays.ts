import { checkSpeed, readRequest, readTime, type ReplayFields } from '../../core/replay/request.ts';
import { ReplayRefused } from '../../core/replay/refusal.ts';
import type { ReplayAction } from '../../core/replay/control.ts';
import type { Env } from '../../core/env.ts';
import { pause } from '../../core/wait.ts';
import type { ReadPool } from '../../store/queries/read-pool.ts';
import type { ReplayStore } from '../../store/replay/replay-store.ts';
import type { ScheduleFields, ScheduleView } from '../../store/replay/schedules.ts';
import { unknownSymbols } from '../../store/replay/ticks.ts';
import type { ReplayRunsFilter, ReplayRunView } from '../../store/replay/views.ts';
import { nextTime } from './cron.ts';
import { requestAt } from './schedule.ts';

export interface ReplaysOptions {
  store: ReplayStore;
  /** where ticks are read */
  reads: Pick<ReadPool, 'run'>;
  /** that of market events */
  topic: string;
  env: Pick<Env, 'clock'>;
}

/** A change that an operator asks for. */
export type ReplayOrder =
  | { action: 'pause' | 'resume' | 'cancel' }
  | { action: 'change speed'; speed: number }
  | { action: 'seek'; to: string };

export interface NewScheduleFields {
  name: string;
  cron: string;
  timezone?: string | undefined;
  request: ScheduleFields;
}

/** A run is shown as running when it is, not as waiting to be: so long is waited for that, ms. */
const STARTED_MS = 2_000;
const LOOK_MS = 50;
const NAME = /^[A-Za-z0-9._-]{1,128}$/;

/** Replays as operators see them, by the command line and the API. Everything rejects with ReplayRefused, or as the store does. */
export class Replays {
  readonly #options: ReplaysOptions;

  constructor(options: ReplaysOptions) {
    this.#options = options;
  }

  /** Starts a run; resolves once somebody runs it, or after two seconds with status pending. */
  async start(fields: ReplayFields): Promise<ReplayRunView> {
    const runId = await this.insert(fields);
    return this.#started(runId);
  }

  /** The same without waiting: its id. @param holder who is about to run it; null: anybody may */
  async insert(fields: ReplayFields, holder: string | null = null): Promise<bigint> {
    const { store, topic } = this.#options;
    const request = readRequest(fields);
    await this.#checkSymbols(fields);
    return store.insert(request, request.topic ?? topic, holder);
  }

  async show(runId: bigint): Promise<ReplayRunView> {
    const run = await this.#options.store.view(runId);
    if (run === null) throw new ReplayRefused({ kind: 'unknown_run', runId });
    return run;
  }

  list(filter: ReplayRunsFilter): Promise<ReplayRunView[]> {
    return this.#options.store.list(filter);
  }

  async order(runId: bigint, order: ReplayOrder): Promise<ReplayRunView> {
    const { store } = this.#options;
    const action: ReplayAction = order.action;
    if (order.action === 'change speed') {
      const speed = checkSpeed(order.speed);
      await store.change(runId, action, () => ({ speed }));
    } else if (order.action === 'seek') {
      const seekUs = readTime('to', order.to);
      await store.change(runId, action, (fields) => {
        const { startUs, endUs } = readRequest(fields);
        if (seekUs >= startUs && seekUs < endUs) return { seekUs };
        const problem = `must be within the run's range, from ${fields.start} to ${fields.end}`;
        return new ReplayRefused({ kind: 'bad_field', field: 'to', problem });
      });
    } else await store.change(runId, action);
    return order.action === 'resume' ? this.#started(runId) : this.show(runId);
  }

  async addSchedule({ name, cron, timezone = 'UTC', request }: NewScheduleFields): Promise<ScheduleView> {
    const { store } = this.#options;
    if (!NAME.test(name))
      throw new ReplayRefused({
        kind: 'bad_field',
        field: 'name',
        problem: 'must be 1-128 letters, digits, dots, hyphens, underscores',
      });
    const nowUs = this.#nowUs();
    const nextUs = nextTime({ cron, timezone }, nowUs);
    if (nextUs === null)
      throw new ReplayRefused({
        kind: 'bad_field',
        field: 'cron',
        problem: 'has no time that is still to come',
      });
    requestAt(request, nowUs);
    await this.#checkSymbols(request);
    const made = await store.insertSchedule({ name, cron, timezone, fields: request, nextUs });
    if (made === null) throw new ReplayRefused({ kind: 'name_taken', name });
    return made;
  }

  schedules(): Promise<ScheduleView[]> {
    return this.#options.store.schedules();
  }

  async schedule(name: string): Promise<ScheduleView> {
    const found = await this.#options.store.schedule(name);
    if (found === null) throw new ReplayRefused({ kind: 'unknown_schedule', name });
    return found;
  }

  async enableSchedule(name: string, isEnabled: boolean): Promise<ScheduleView> {
    const { cron, timezone } = await this.schedule(name);
    await this.#options.store.enableSchedule(name, isEnabled, nextTime({ cron, timezone }, this.#nowUs()));
    return this.schedule(name);
  }

  async removeSchedule(name: string): Promise<void> {
    if (!(await this.#options.store.deleteSchedule(name)))
      throw new ReplayRefused({ kind: 'unknown_schedule', name });
  }

  #nowUs(): bigint {
    return this.#options.env.clock.nowMicros();
  }

  async #checkSymbols(fields: ScheduleFields): Promise<void> {
    const request = requestAt(fields, this.#nowUs());
    const symbols = await this.#options.reads.run((client) => unknownSymbols(client, request));
    if (symbols.length > 0)
      throw new ReplayRefused({ kind: 'unknown_symbols', symbols, providers: request.providers });
  }

  async #started(runId: bigint): Promise<ReplayRunView> {
    const { clock } = this.#options.env;
    const endMs = clock.monotonicMs() + STARTED_MS;
    const never = new AbortController().signal;
    for (;;) {
      const run = await this.show(runId);
      if (run.status !== 'pending' || clock.monotonicMs() > endMs) return run;
      await pause(LOOK_MS, never);
    }
  }
}
