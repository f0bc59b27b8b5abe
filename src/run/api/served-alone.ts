import { StageLifecycle, type Stage } from '../../stream/stage.ts';
import { buildStage } from '../stages/build.ts';
import { StageThread } from '../stages/stage-handle.ts';
import type { StageSetup } from '../stages/stage-setup.ts';
import type { RoleHost } from '../stages/standalone.ts';

/**
 * The API as a program of its own: on the main thread, so that what ends it ends the program, and beside it the threads that store
 * what its webhook takes (without one, ticks would lie on the bus until their time there is over) and run the replays that are asked
 * of it.
 */
export class ServedAlone implements Stage {
  readonly #api: Stage;
  readonly #threads: readonly StageThread[];
  readonly #lifecycle: StageLifecycle;

  /** @param flushes false: `mdp stream flush` or a daemon stores the ticks */
  constructor(setup: StageSetup, flushes: boolean, { env, meter }: RoleHost) {
    this.#api = buildStage({ ...setup, stage: 'api' }, { env, meter });
    const beside = flushes ? (['flusher', 'replay'] as const) : (['replay'] as const);
    this.#threads = beside.map(
      (stage) =>
        new StageThread(
          { ...setup, stage, maintainsBus: false },
          {
            env,
            metrics: (name, entries) => meter.add(entries, name),
            died: (name) => meter.count('errors_total', { component: name, reason: 'stage_ended' }),
          },
        ),
    );
    this.#lifecycle = new StageLifecycle(
      () => this.#run(),
      // requests in hand first: what they put onto the bus may still be stored
      () =>
        this.#api
          .stop()
          .then(() => Promise.all(this.#threads.map((thread) => thread.stop())))
          .then(() => {}),
    );
  }

  get done(): Promise<void> {
    return this.#lifecycle.done;
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  async #run(): Promise<void> {
    this.#lifecycle.stopping.addEventListener('abort', () => void this.#api.stop());
    for (const thread of this.#threads) thread.start();
    await this.#api.start();
    await this.#api.done;
  }
}
