import { envOf, type Env } from '../../core/env.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import { pause } from '../../core/wait.ts';
import type { Encoding, StreamBus } from '../../bus/bus.ts';
import type { ReadPool } from '../../store/queries/read-pool.ts';
import type { ReplayStore } from '../../store/replay/replay-store.ts';
import { NO_METER, type Meter } from '../../stream/meter.ts';
import { StageLifecycle, type Stage } from '../../stream/stage.ts';
import { databaseTrouble } from '../../stream/trouble.ts';
import { ReplayRun, type ReplayEnd } from './replay-run.ts';
import { firing } from './schedule.ts';

export interface TickReplayerOptions {
  bus: Pick<StreamBus, 'kind' | 'publish' | 'trim'>;
  backpressure: Backpressure;
  store: ReplayStore;
  /** where ticks are read; closed at the end */
  reads: ReadPool;
  /** of market events: where runs go that name no other */
  topic: string;
  /** default json */
  encoding?: Encoding;
  /** unique among living replayers */
  holder: string;
  /** runs at once (default 4); others wait */
  runsMax?: number;
  /** runs this one alone, and ends with it; default: all, without end */
  only?: bigint | null;
  /** how long records of a run's own topic are kept, ms (default 24 h) */
  retentionMs?: number;
  meter?: Meter;
  env?: Partial<Env>;
}

const POLL_MS = 200;
/** Rounds between two looks at the schedules, the heartbeat with them. */
const SCHEDULE_ROUNDS = 5;
/** Rounds between two trims of the topics that runs have for themselves. */
const TRIM_ROUNDS = 300;
const DAY_MS = 24 * 3_600_000;

/**
 * TickReplayer: stored ticks onto the bus again, in their order and at the speed that is asked for. Claims runs by a lease, so that
 * several replayers share them and none runs twice; starts those of schedules that are due.
 */
export class TickReplayer implements Stage {
  readonly #options: TickReplayerOptions;
  readonly #env: Env;
  readonly #meter: Meter;
  readonly #lifecycle: StageLifecycle;
  readonly #running = new Map<ReplayRun, Promise<void>>();
  #lastEnd: ReplayEnd | null = null;
  #wasFailing = false;

  constructor(options: TickReplayerOptions) {
    this.#options = options;
    this.#env = envOf(options.env);
    this.#meter = options.meter ?? NO_METER;
    this.#lifecycle = new StageLifecycle(
      () => this.#work(),
      () => this.#finish(),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  /** How the last run ended here; null: none did. */
  get lastEnd(): ReplayEnd | null {
    return this.#lastEnd;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #work(): Promise<void> {
    const { stopping } = this.#lifecycle;
    const { only = null } = this.#options;
    this.#meter.set('tick_replay_active', {}, 0);
    for (let round = 0; !stopping.aborted; round += 1) {
      await this.#round(round);
      if (only !== null && (this.#lastEnd !== null || (await this.#isOver(only)))) return;
      await pause(POLL_MS, stopping);
    }
  }

  async #round(round: number): Promise<void> {
    const { only = null } = this.#options;
    if (round % SCHEDULE_ROUNDS === 0)
      this.#meter.set(
        'stage_heartbeat_timestamp_seconds',
        { stage: 'replay' },
        Number(this.#env.clock.nowMicros()) / 1e6,
      );
    try {
      if (only === null && round % SCHEDULE_ROUNDS === 0) await this.#schedules();
      await this.#claim();
      if (only === null && round % TRIM_ROUNDS === TRIM_ROUNDS - 1) await this.#trim();
      this.#wasFailing = false;
    } catch (err) {
      const { level, message } = databaseTrouble(err);
      if (!this.#wasFailing) this.#env.log(level, `TickReplayer: ${message}`, { err });
      this.#wasFailing = true;
    }
  }

  async #claim(): Promise<void> {
    const { store, holder, runsMax = 4, only = null } = this.#options;
    const free = runsMax - this.#running.size;
    if (free <= 0) return;
    const claimedMs = this.#env.clock.monotonicMs();
    for (const claimed of await store.claim(holder, free, only)) {
      const run = new ReplayRun(claimed, claimedMs, {
        ...this.#options,
        encoding: this.#options.encoding ?? 'json',
        env: this.#env,
        meter: this.#meter,
      });
      this.#running.set(run, this.#follow(run));
      this.#meter.set('tick_replay_active', {}, this.#running.size);
      if (this.#lifecycle.stopping.aborted) run.stop();
    }
  }

  /** Whether a run has ended, wherever it ran. */
  async #isOver(runId: bigint): Promise<boolean> {
    if (this.#running.size > 0) return false;
    const run = await this.#options.store.view(runId).catch(() => null);
    return run !== null && run.completed_at !== null;
  }

  async #follow(run: ReplayRun): Promise<void> {
    try {
      this.#lastEnd = await run.run();
    } finally {
      this.#running.delete(run);
      this.#meter.set('tick_replay_active', {}, this.#running.size);
    }
  }

  async #schedules(): Promise<void> {
    const { store, topic } = this.#options;
    for (const { name, runId } of await store.fireDue((due) => firing(due, topic))) {
      if (runId === null)
        this.#env.log('error', 'TickReplayer: A schedule started no run', { schedule: name });
      else
        this.#env.log('info', 'TickReplayer: A schedule started a run', {
          schedule: name,
          run_id: Number(runId),
        });
    }
  }

  /** Nobody else knows of these topics. */
  async #trim(): Promise<void> {
    const { bus, store, retentionMs = DAY_MS } = this.#options;
    for (const topic of await store.recentTopics(2 * retentionMs)) {
      await bus
        .trim(topic, { acknowledgedMs: retentionMs, retentionMs, outlivesProcess: true })
        .catch((err: unknown) =>
          this.#env.log('warn', 'TickReplayer: A topic is not trimmed', { topic, err }),
        );
    }
  }

  async #finish(): Promise<void> {
    for (const run of this.#running.keys()) run.stop();
    await Promise.all(this.#running.values());
    await this.#options.reads.close();
  }
}
