import type { Env } from '../../core/env.ts';
import { backoffMs } from '../../core/retry.ts';
import { RestartedWorker, workerFile } from '../../ingest/worker.ts';
import type { StageSetup } from './stage-setup.ts';
import type { FromStage, ToStage } from './stage-thread.ts';
import type { MeterEntry } from '../telemetry/meter-buffer.ts';

export interface StageThreadHost {
  readonly env: Env;
  /** what a stage measured; at least once a second while it lives */
  metrics(stage: string, entries: readonly MeterEntry[]): void;
  /** it ended by itself and is restarted */
  died(stage: string): void;
}

const BACKOFF = { firstMs: 500, maxMs: 30_000 };
/** Time for a stage to finish work in progress; then its thread is ended, and unacknowledged records come again. */
const STOP_MS = 15_000;

/**
 * One stage of the bus in its own thread. A thread that ends by itself is restarted, with growing waits: its work in
 * progress was not acknowledged.
 */
export class StageThread {
  readonly #setup: StageSetup;
  readonly #host: StageThreadHost;
  #worker: RestartedWorker<ToStage, FromStage> | null = null;
  /** the thread's own account of its end */
  #reason: string | null = null;

  constructor(setup: StageSetup, host: StageThreadHost) {
    this.#setup = setup;
    this.#host = host;
  }

  start(): void {
    this.#worker = new RestartedWorker({
      file: workerFile(import.meta.url, 'stage'),
      name: this.#setup.stage,
      clock: this.#host.env.clock,
      data: () => this.#setup,
      message: (message) => this.#message(message),
      died: (failure, waitMs) => this.#died(failure, waitMs),
      waitMs: (deaths) => backoffMs(deaths, BACKOFF, this.#host.env.random()),
    });
  }

  async stop(): Promise<void> {
    await this.#worker?.stop({ type: 'stop' }, { ms: STOP_MS });
  }

  #message(message: FromStage): void {
    if (message.type === 'log') this.#host.env.log(message.level, message.message, message.fields);
    else if (message.type === 'metrics') this.#host.metrics(this.#setup.stage, message.entries);
    else if (message.error !== null) this.#reason = message.error;
  }

  #died(failure: Error, waitMs: number): void {
    const { stage } = this.#setup;
    const reason = this.#reason ?? failure.message;
    this.#reason = null;
    this.#host.died(stage);
    this.#host.env.log('error', 'A stage ended (will be started again)', { stage, reason, retry_ms: waitMs });
  }
}
