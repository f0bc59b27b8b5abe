import { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { BatchWrite } from '../store/chain/batch.ts';
import type { ParsedBatch, ParseTask } from './parser/parse.ts';
import type { FromReader, ReaderSetup, ToReader } from './reader/reader-thread.ts';
import type { Ring } from './ring.ts';
import type { ThreadStats } from './thread-stats.ts';
import type { Backend, WriteOutcome } from './writer/batch-writer.ts';
import type { FromWriter, ToWriter, WriterSetup } from './writer/writer-thread.ts';

/** What threads tell the daemon; thread names are reader, parser-0, writer-0 … */
export interface ThreadsHost {
  fromReader(message: FromReader): void;
  /** everything from a writer but the outcome of a batch */
  fromWriter(index: number, message: FromWriter): void;
  stats(thread: string, stats: ThreadStats): void;
  /** the thread ended by itself and is being replaced */
  died(thread: string, error: Error): void;
}

/** Compiled code runs as .js, the sources as .ts. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const workerUrl = (path: string): URL => new URL(`./${path}.worker.${EXTENSION}`, import.meta.url);

/** A worker that died is replaced after so long, so that one that dies at once does not spin, ms. */
const RESPAWN_MS = 500;

/** The reader thread. A dead one is replaced; the daemon then starts it from the position. */
export class ReaderThread {
  readonly #setup: ReaderSetup;
  readonly #host: ThreadsHost;
  #worker: Worker;
  #stopping = false;

  constructor(setup: ReaderSetup, host: ThreadsHost) {
    this.#setup = setup;
    this.#host = host;
    this.#worker = this.#spawn();
  }

  post(message: ToReader): void {
    this.#worker.postMessage(message);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#worker.terminate();
  }

  #spawn(): Worker {
    const worker = new Worker(workerUrl('reader/reader'), { workerData: this.#setup, name: 'reader' });
    let failure = new Error('the thread ended');
    worker.on('message', (message: FromReader) => {
      if (message.type === 'stats') this.#host.stats('reader', message.stats);
      this.#host.fromReader(message);
    });
    worker.on('error', (error) => {
      failure = error as Error;
    });
    worker.on('exit', () => {
      if (this.#stopping) return;
      setTimeout(() => {
        if (this.#stopping) return;
        this.#worker = this.#spawn();
        this.#host.died('reader', failure);
      }, RESPAWN_MS);
    });
    return worker;
  }
}

/** One writer thread, one batch at a time. */
export class WriterThread {
  readonly #setup: WriterSetup;
  readonly #host: ThreadsHost;
  #worker: Worker;
  #waiting: { resolve(outcome: WriteOutcome): void; reject(error: Error): void } | null = null;
  #backend: Backend | null = null;
  #stopped: (() => void) | null = null;
  #dead = false;
  #stopping = false;

  constructor(setup: WriterSetup, host: ThreadsHost) {
    this.#setup = setup;
    this.#host = host;
    this.#worker = this.#spawn([]);
  }

  get name(): string {
    return `writer-${this.#setup.index}`;
  }

  /** Rejects when the thread died. */
  write(batch: BatchWrite, unknown: boolean): Promise<WriteOutcome> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#worker.postMessage({ type: 'write', batch, unknown } satisfies ToWriter);
    });
  }

  /** Closes the connection; a batch under way is given up after its present attempt. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#dead) return;
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
      this.#worker.postMessage({ type: 'stop' } satisfies ToWriter);
    });
    await this.#worker.terminate();
  }

  async terminate(): Promise<void> {
    this.#stopping = true;
    await this.#worker.terminate();
  }

  #spawn(orphans: Backend[]): Worker {
    this.#dead = false;
    const worker = new Worker(workerUrl('writer/write'), {
      workerData: { ...this.#setup, orphans },
      name: this.name,
    });
    let failure = new Error('the thread ended');
    worker.on('message', (message: FromWriter) => this.#message(message));
    worker.on('error', (error) => {
      failure = error as Error;
    });
    worker.on('exit', () => {
      this.#dead = true;
      this.#stopped?.();
      if (this.#stopping) return;
      this.#host.died(this.name, failure);
      setTimeout(() => {
        if (this.#stopping) return;
        this.#worker = this.#spawn(this.#backend === null ? [] : [this.#backend]);
        const waiting = this.#waiting;
        this.#waiting = null;
        waiting?.reject(failure);
      }, RESPAWN_MS);
    });
    return worker;
  }

  #message(message: FromWriter): void {
    switch (message.type) {
      case 'done': {
        const waiting = this.#waiting;
        this.#waiting = null;
        waiting?.resolve(message.outcome);
        return;
      }
      case 'backend':
        this.#backend = message.backend;
        return;
      case 'stopped':
        this.#stopped?.();
        return;
      case 'stats':
        this.#host.stats(this.name, message.stats);
        this.#host.fromWriter(this.#setup.index, message);
        return;
      case 'database':
      case 'log':
        this.#host.fromWriter(this.#setup.index, message);
    }
  }
}

/** The parser pool. One task a thread; the pipeline bounds how many are asked for, the queue bounds it once more. */
export class ParserPool {
  #pool: Piscina;
  readonly #create: () => Piscina;
  readonly #watch: NodeJS.Timeout;
  readonly #host: ThreadsHost;
  readonly #threads: number[] = [];
  readonly #clockMs: () => number;
  readonly #startedMs = new Map<ParseTask, number>();

  constructor(ring: Ring, size: number, queueMax: number, host: ThreadsHost, clockMs: () => number) {
    this.#host = host;
    this.#clockMs = clockMs;
    this.#create = () => {
      const pool = new Piscina({
        filename: workerUrl('parser/parse').href,
        workerData: { geometry: ring.geometry, memory: ring.memory },
        minThreads: size,
        maxThreads: size,
        concurrentTasksPerWorker: 1,
        maxQueue: queueMax,
        // a parser waits in its event loop, not in Atomics.wait: it must answer while idle
        atomics: 'disabled',
      });
      pool.on('error', (error: Error) => host.died('parser', error));
      return pool;
    };
    this.#pool = this.#create();
    this.#watch = setInterval(() => this.#replenish(size), RESPAWN_MS);
  }

  /** Piscina starts no further thread once one died before it was ready, and its queue would wait for ever. */
  #replenish(size: number): void {
    const pool = this.#pool;
    if (pool.threads.length >= size) return;
    this.#host.died('parser', new Error('the thread ended before it was ready'));
    this.#pool = this.#create();
    void pool.destroy();
  }

  /** Rejects when the thread died; the frames are still in the ring. */
  async parse(task: ParseTask): Promise<ParsedBatch> {
    this.#startedMs.set(task, this.#clockMs());
    try {
      const result = (await this.#pool.run(task)) as {
        parsed: ParsedBatch;
        stats: ThreadStats;
        threadId: number;
      };
      this.#host.stats(`parser-${this.#index(result.threadId)}`, result.stats);
      return result.parsed;
    } finally {
      this.#startedMs.delete(task);
    }
  }

  /** How long the oldest task has been under way, ms; 0 when none is. */
  oldestMs(nowMs: number): number {
    const [oldest] = this.#startedMs.values();
    return oldest === undefined ? 0 : nowMs - oldest;
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    await this.#pool.destroy();
  }

  #index(threadId: number): number {
    const known = this.#threads.indexOf(threadId);
    return known >= 0 ? known : this.#threads.push(threadId) - 1;
  }
}
