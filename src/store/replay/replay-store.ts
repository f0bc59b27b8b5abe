import { statusAfter, type ReplayAction } from '../../core/replay/control.ts';
import { ReplayRefused } from '../../core/replay/refusal.ts';
import type { ReplayFields, ReplayRequest } from '../../core/replay/request.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { inTransaction } from '../postgres/transaction.ts';
import {
  changeRun,
  claimRuns,
  insertRun,
  keepSnapshot,
  lockRun,
  OPEN_RUNS_MAX,
  readOrders,
  recentTopics,
  storeState,
  type ClaimedRun,
  type ReplayHold,
  type ReplayHoldEnd,
  type ReplayOrders,
  type ReplayState,
  type RunChange,
} from './runs.ts';
import {
  deleteSchedule,
  enableSchedule,
  fireDue,
  insertSchedule,
  viewSchedule,
  viewSchedules,
  type DueSchedule,
  type Firing,
  type NewSchedule,
  type ScheduleView,
} from './schedules.ts';
import { viewRun, viewRuns, type ReplayRunsFilter, type ReplayRunView } from './views.ts';

/** Replays and their schedules. Every method rejects with the server's error or as Session.run does. */
export class ReplayStore {
  readonly #run: RunOnSession;

  constructor(run: RunOnSession) {
    this.#run = run;
  }

  /** Rejects with ReplayRefused too_many. @param holder who is about to claim it; null: anybody may */
  async insert(request: ReplayRequest, topic: string, holder: string | null): Promise<bigint> {
    const runId = await this.#run((client) =>
      inTransaction(client, () => insertRun(client, request, topic, { scheduleId: null, holder })),
    );
    // not within the call: a session is dropped after an error
    if (runId === null) throw new ReplayRefused({ kind: 'too_many', openMax: OPEN_RUNS_MAX });
    return runId;
  }

  claim(holder: string, runsMax: number, only: bigint | null): Promise<ClaimedRun[]> {
    return this.#run((client) => claimRuns(client, holder, runsMax, only));
  }

  keepSnapshot(hold: ReplayHold, snapshot: string): Promise<void> {
    return this.#run((client) => keepSnapshot(client, hold, snapshot));
  }

  orders(hold: ReplayHold): Promise<ReplayOrders | null> {
    return this.#run((client) => readOrders(client, hold));
  }

  store(hold: ReplayHold, state: ReplayState, end: ReplayHoldEnd): Promise<ReplayOrders | null> {
    return this.#run((client) => storeState(client, hold, state, end));
  }

  /**
   * @param changeOf what the action is, or why not, given what the run replays
   * Rejects with ReplayRefused: unknown_run, wrong_state, and what changeOf says.
   */
  async change(
    runId: bigint,
    action: ReplayAction,
    changeOf: (fields: ReplayFields) => Omit<RunChange, 'status'> | ReplayRefused = () => ({}),
  ): Promise<void> {
    const refused = await this.#run((client) =>
      inTransaction(client, async () => {
        const found = await lockRun(client, runId);
        if (found === null) return new ReplayRefused({ kind: 'unknown_run', runId });
        const status = statusAfter(found.status, action);
        if (status === null)
          return new ReplayRefused({ kind: 'wrong_state', runId, status: found.status, action });
        const change = changeOf(found.fields);
        if (change instanceof ReplayRefused) return change;
        await changeRun(client, runId, { ...change, status });
        return null;
      }),
    );
    if (refused !== null) throw refused;
  }

  view(runId: bigint): Promise<ReplayRunView | null> {
    return this.#run((client) => viewRun(client, runId));
  }

  list(filter: ReplayRunsFilter): Promise<ReplayRunView[]> {
    return this.#run((client) => viewRuns(client, filter));
  }

  recentTopics(withinMs: number): Promise<string[]> {
    return this.#run((client) => recentTopics(client, withinMs));
  }

  insertSchedule(schedule: NewSchedule): Promise<ScheduleView | null> {
    return this.#run((client) => insertSchedule(client, schedule));
  }

  schedules(): Promise<ScheduleView[]> {
    return this.#run((client) => viewSchedules(client));
  }

  schedule(name: string): Promise<ScheduleView | null> {
    return this.#run((client) => viewSchedule(client, name));
  }

  deleteSchedule(name: string): Promise<boolean> {
    return this.#run((client) => deleteSchedule(client, name));
  }

  enableSchedule(name: string, isEnabled: boolean, nextUs: bigint | null): Promise<boolean> {
    return this.#run((client) => enableSchedule(client, name, isEnabled, nextUs));
  }

  fireDue(fire: (due: DueSchedule) => Firing): Promise<{ name: string; runId: bigint | null }[]> {
    return this.#run((client) => inTransaction(client, () => fireDue(client, fire)));
  }
}
