import { randomUUID } from 'node:crypto';
import { BroadcastChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { VerifyTask } from '../../core/chain/verify/plan.ts';
import { atMost } from '../../core/wait.ts';
import { workerFile } from '../../ingest/worker.ts';
import type { FromVerifier, VerifierSetup, VerifyOutcome } from './verify-thread.ts';

const WORKER = workerFile(import.meta.url, 'verify');

/** While a thread verifies one page the server already sends the next one, on another session. */
const TASKS_PER_THREAD = 2;
const STOP_MS = 5_000;

/** A pool of threads that read and verify pages, each with its own sessions: rows never cross a thread. */
export class VerifyThreads {
  /** tasks that can run at once; each has a session */
  readonly capacity: number;
  readonly #pool: Piscina;
  readonly #stopChannel: BroadcastChannel;
  /** ids of the threads that did a task: the others hold no session, and may not have started yet */
  readonly #withSessions = new Set<number>();
  #failure: Error | null = null;

  constructor(setup: Omit<VerifierSetup, 'stopChannel'>, size: number) {
    this.capacity = size * TASKS_PER_THREAD;
    const stopChannel = `verify ${randomUUID()}`;
    this.#stopChannel = new BroadcastChannel(stopChannel);
    this.#pool = new Piscina({
      filename: WORKER.href,
      workerData: { ...setup, stopChannel } satisfies VerifierSetup,
      minThreads: size,
      maxThreads: size,
      concurrentTasksPerWorker: TASKS_PER_THREAD,
      maxQueue: this.capacity,
      // a thread waits in its event loop, not in Atomics.wait: its sessions need it
      atomics: 'disabled',
    });
    // a thread that ends without a task: work waiting for one would wait forever
    this.#pool.on('error', (error: Error) => {
      this.#failure ??= error;
      void this.#pool.destroy();
    });
  }

  /** Rejects when the store cannot be read, in one line for the operator, or with what ended the thread. */
  async run(task: VerifyTask): Promise<VerifyOutcome> {
    try {
      const { outcome, threadId } = (await this.#pool.run(task)) as FromVerifier;
      this.#withSessions.add(threadId);
      return outcome;
    } catch (error) {
      throw this.#failure ?? error;
    }
  }

  /** Closes the sessions; tasks still running after a while are ended with their thread. */
  async stop(): Promise<void> {
    await atMost(this.#closeSessions(), STOP_MS);
    this.#stopChannel.close();
    await this.#pool.destroy();
  }

  #closeSessions(): Promise<void> {
    const waitedFor = this.#withSessions;
    if (waitedFor.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#stopChannel.addEventListener('message', (event) => {
        waitedFor.delete((event as MessageEvent).data as number);
        if (waitedFor.size === 0) resolve();
      });
      this.#stopChannel.postMessage('stop');
    });
  }
}
