import { Worker } from 'node:worker_threads';
import type { VerifyTask } from '../../core/chain/verify/plan.ts';
import { workerFile } from '../../ingest/worker.ts';
import type { FromVerifier, ToVerifier, VerifierSetup, VerifyOutcome } from './verify-thread.ts';

const WORKER = workerFile(import.meta.url, 'verify');

/** While a thread verifies one page the server already sends the next one, on another session. */
const TASKS_PER_THREAD = 2;
const STOP_MS = 5_000;

interface Waiting {
  thread: number;
  resolve(outcome: VerifyOutcome): void;
  reject(error: Error): void;
}

/** Threads that read and verify pages, each with its own sessions: rows never cross a thread. */
export class VerifyThreads {
  /** tasks that can be under way at once; each has a session */
  readonly capacity: number;
  readonly #threads: Worker[];
  readonly #load: number[];
  readonly #waiting = new Map<number, Waiting>();
  readonly #stopped: (() => void)[] = [];
  #ids = 0;

  constructor(setup: VerifierSetup, size: number) {
    this.capacity = size * TASKS_PER_THREAD;
    this.#load = Array.from({ length: size }, () => 0);
    this.#threads = this.#load.map((_, index) => this.#spawn(setup, index));
  }

  /** Rejects when the store cannot be read, in one line for the operator, or with what ended the thread. */
  run(task: VerifyTask): Promise<VerifyOutcome> {
    const thread = this.#load.indexOf(Math.min(...this.#load));
    this.#load[thread] += 1;
    this.#ids += 1;
    const id = this.#ids;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { thread, resolve, reject });
      this.#threads[thread].postMessage({ id, task } satisfies ToVerifier);
    });
  }

  /** Closes the sessions; what is still under way after a while is ended with its thread. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#threads.map(
        (thread, index) =>
          new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, STOP_MS);
            this.#stopped[index] = () => {
              clearTimeout(timer);
              resolve();
            };
            thread.once('exit', this.#stopped[index]);
            thread.postMessage({ stop: true } satisfies ToVerifier);
          }),
      ),
    );
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  #spawn(setup: VerifierSetup, index: number): Worker {
    const worker = new Worker(WORKER, { workerData: setup, name: `verifier-${index}` });
    let failure = new Error('a verifier thread ended by itself');
    worker.on('message', (message: FromVerifier) => this.#message(index, message));
    worker.on('error', (error) => {
      failure = error as Error;
    });
    worker.on('exit', () => {
      for (const [id, waiting] of this.#waiting) {
        if (waiting.thread !== index) continue;
        this.#waiting.delete(id);
        waiting.reject(failure);
      }
    });
    return worker;
  }

  #message(index: number, message: FromVerifier): void {
    if ('stopped' in message) {
      this.#stopped[index]?.();
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    this.#load[index] -= 1;
    if ('outcome' in message) waiting?.resolve(message.outcome);
    else waiting?.reject(new Error(message.failed));
  }
}
