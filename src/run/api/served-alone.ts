import { StageLifecycle, type Stage } from '../../stream/stage.ts';
import { buildStage } from '../stages/build.ts';
import { StageThread } from '../stages/stage-handle.ts';
import type { StageSetup } from '../stages/stage-setup.ts';
import type { RoleHost } from '../stages/standalone.ts';

/**
 * The API as a program of its own: on the main thread, so that what ends it ends the program, and beside it the thread that
 * stores what its webhook takes: without one, ticks would lie on the bus until their time there is over.
 */
export class ServedAlone implements Stage {
  readonly #api: Stage;
  readonly #flusher: StageThread | null;
  readonly #lifecycle: StageLifecycle;

  /** @param flushes false: `mdp stream flush` or a daemon stores the ticks */
  constructor(setup: StageSetup, flushes: boolean, { env, meter }: RoleHost) {
    this.#api = buildStage({ ...setup, stage: 'api' }, { env, meter });
    this.#flusher = flushes
      ? new StageThread(
          { ...setup, stage: 'flusher', maintainsBus: false },
          {
            env,
            metrics: (stage, entries) => meter.add(entries, stage),
            died: (stage) => meter.count('errors_total', { component: stage, reason: 'stage_ended' }),
          },
        )
      : null;
    this.#lifecycle = new StageLifecycle(
      () => this.#run(),
      // requests in hand first: what they put onto the bus may still be stored
      () => this.#api.stop().then(() => this.#flusher?.stop()),
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
    this.#flusher?.start();
    await this.#api.start();
    await this.#api.done;
  }
}
