import type { LogLine } from '../../core/env.ts';
import { Worker } from 'node:worker_threads';
import { backoffMs } from '../../core/retry.ts';
import type { StageSetup } from './build.ts';
import type { FromStage, ToStage } from './stage-thread.ts';
import type { MeterEntry } from '../telemetry/meter-buffer.ts';

export interface StageThreadHost {
  readonly log: LogLine;
  /** what a stage measured; at least once a second while it lives */
  metrics(stage: string, entries: readonly MeterEntry[]): void;
  /** it ended by itself and is started again */
  died(stage: string): void;
}

/** Compiled code runs as .js, the sources as .ts. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const WORKER = new URL(`./stage.worker.${EXTENSION}`, import.meta.url);
const BACKOFF = { firstMs: 500, maxMs: 30_000 };
/** A thread that ran for so long is not one that dies at once: the next wait is short again. */
const SOUND_MS = 60_000;
/** What a stage needs to finish what is in hand; then its thread is ended, and what it had comes again. */
const STOP_MS = 15_000;

/**
 * One stage of the bus in a thread of its own. A thread that ends by itself is started again, with growing waits: what it
 * had in hand was not acknowledged.
 */
export class StageThread {
  readonly #setup: StageSetup;
  readonly #host: StageThreadHost;
  #worker: Worker | null = null;
  #attempt = 0;
  #timer: NodeJS.Timeout | null = null;
  #stopping = false;

  constructor(setup: StageSetup, host: StageThreadHost) {
    this.#setup = setup;
    this.#host = host;
  }

  start(): void {
    this.#spawn();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const worker = this.#worker;
    if (worker === null) return;
    const gone = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage({ type: 'stop' } satisfies ToStage);
    const timer = setTimeout(() => void worker.terminate(), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  #spawn(): void {
    const { stage } = this.#setup;
    const beganMs = performance.now();
    const worker = new Worker(WORKER, { workerData: this.#setup, name: stage });
    let reason = 'the thread ended';
    this.#worker = worker;
    worker.on('message', (message: FromStage) => {
      if (message.type === 'log') this.#host.log(message.level, message.message, message.fields);
      else if (message.type === 'metrics') this.#host.metrics(stage, message.entries);
      else if (message.error !== null) reason = message.error;
    });
    worker.on('error', (error) => (reason = (error as Error).message));
    worker.on('exit', () => {
      this.#worker = null;
      if (this.#stopping) return;
      if (performance.now() - beganMs > SOUND_MS) this.#attempt = 0;
      const waitMs = backoffMs(this.#attempt, BACKOFF, Math.random());
      this.#attempt += 1;
      this.#host.died(stage);
      this.#host.log('error', 'A stage ended (will be started again)', { stage, reason, retry_ms: waitMs });
      this.#timer = setTimeout(() => this.#spawn(), waitMs);
    });
  }
}
