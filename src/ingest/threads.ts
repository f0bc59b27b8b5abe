import type { Env } from '../core/env.ts';
import type { BatchWrite } from '../store/chain/batch.ts';
import type { IngestObserver, ReaderObserver } from './observer.ts';
import type { ParsedBatch, ParseTask } from './parser/parse.ts';
import { ParserPool } from './parser/pool.ts';
import type { PipelineThreads } from './pipeline/host.ts';
import type { FromReader, ReaderSetup, ToReader } from './reader/reader-thread.ts';
import type { Ring } from './ring.ts';
import { RestartedWorker, workerFile } from './worker.ts';
import type { Backend, Unconnected, WriteAttempt, WriteOutcome } from './writer/outcome.ts';
import type { DatabaseTrouble } from './writer/trouble.ts';
import type { FromWriter, ToWriter, WriterSetup } from './writer/writer-thread.ts';

export interface ThreadsOptions {
  reader: Omit<ReaderSetup, 'geometry' | 'memory'>;
  parsers: number;
  writers: Omit<WriterSetup, 'orphans'>[];
}

/** What the reader thread decides or delivers. Its log lines and counts go to Env.log and the observer. */
export interface ReaderHost {
  fromReader(message: ReaderMessage): void;
  /** it died, and was replaced by one that waits to be started */
  readerDied(error: Error): void;
}

export interface ThreadsHost extends ReaderHost {
  /** a writer without a batch has no connection any more */
  writerLost(writer: number): void;
}

/** Everything but log lines, which go to Env.log. */
export type ReaderMessage = Exclude<FromReader, { type: 'log' }>;

/** How soon a thread that died is replaced, ms. */
const RESTART_MS = 500;

/** The threads around one ring: one that reads, some that parse, some that write; and what blocks the writers. */
export class IngestThreads implements PipelineThreads {
  readonly #reader: ReaderThread;
  readonly #parsers: ParserPool;
  readonly #writers: WriterThread[];
  /** by writer; empty when all are healthy */
  readonly databaseTrouble = new Map<number, DatabaseTrouble>();

  constructor(ring: Ring, options: ThreadsOptions, env: Env, observer: IngestObserver, host: ThreadsHost) {
    this.#parsers = new ParserPool(ring, options.parsers, env.clock, {
      stats: (thread, stats) => observer.threadStats(thread, stats),
      died: (error) => logDeath(env, 'parser', error),
    });
    this.#writers = options.writers.map(
      (setup) =>
        new WriterThread(setup, env, observer, {
          trouble: (trouble) => {
            if (trouble === null) this.databaseTrouble.delete(setup.index);
            else this.databaseTrouble.set(setup.index, trouble);
          },
          lost: () => host.writerLost(setup.index),
        }),
    );
    this.#reader = new ReaderThread(ring, options.reader, env, observer, host);
  }

  get writers(): number {
    return this.#writers.length;
  }

  /** How long the oldest parse has been in flight, ms; 0 when none is. */
  get oldestParseMs(): number {
    return this.#parsers.oldestMs;
  }

  toReader(message: ToReader): void {
    this.#reader.post(message);
  }

  parse(task: ParseTask): Promise<ParsedBatch> {
    return this.#parsers.parse(task);
  }

  connect(writer: number): Promise<Unconnected | null> {
    return this.#writers[writer].connect();
  }

  disconnect(writer: number): void {
    this.#writers[writer].disconnect();
  }

  write(writer: number, batch: BatchWrite, attempt: WriteAttempt): Promise<WriteOutcome> {
    return this.#writers[writer].write(batch, attempt);
  }

  credit(): void {
    this.toReader({ type: 'credit' });
  }

  /** The writers close their connections. */
  async stopWriters(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()));
  }

  /** The others. */
  async stopReaderAndParsers(): Promise<void> {
    await Promise.all([this.#reader.stop(), this.#parsers.stop()]);
  }
}

/** The reader thread. A dead one is replaced; its user then starts it from the position. */
export class ReaderThread {
  readonly #worker: RestartedWorker<ToReader, FromReader>;

  constructor(
    { geometry, memory }: Ring,
    options: ThreadsOptions['reader'],
    env: Env,
    observer: ReaderObserver,
    host: ReaderHost,
  ) {
    const setup: ReaderSetup = { ...options, geometry, memory };
    this.#worker = new RestartedWorker({
      file: workerFile(import.meta.url, 'reader/reader'),
      name: 'reader',
      clock: env.clock,
      data: () => setup,
      message: (message) => {
        if (message.type === 'log') {
          env.log(message.level, message.message, message.fields);
          return;
        }
        if (message.type === 'stats') {
          observer.threadStats('reader', message.stats);
          observer.readerStats(message.stats);
        }
        host.fromReader(message);
      },
      died: (failure) => logDeath(env, 'reader', failure),
      restarted: (failure) => host.readerDied(failure),
      waitMs: () => RESTART_MS,
    });
  }

  post(message: ToReader): void {
    this.#worker.post(message);
  }

  stop(): Promise<void> {
    return this.#worker.terminate();
  }
}

interface WriterThreadHost {
  /** null: it is healthy again */
  trouble(trouble: DatabaseTrouble | null): void;
  lost(): void;
}

/** One writer thread, one batch at a time. */
class WriterThread {
  readonly #worker: RestartedWorker<ToWriter, FromWriter>;
  #writing: PromiseWithResolvers<WriteOutcome> | null = null;
  #connecting: PromiseWithResolvers<Unconnected | null> | null = null;
  /** of the connection that the thread opened last */
  #backend: Backend | null = null;
  readonly #stopped = Promise.withResolvers<void>();

  constructor(
    setup: Omit<WriterSetup, 'orphans'>,
    env: Env,
    observer: IngestObserver,
    host: WriterThreadHost,
  ) {
    const { index } = setup;
    const name = `writer-${index}`;
    this.#worker = new RestartedWorker({
      file: workerFile(import.meta.url, 'writer/write'),
      name,
      clock: env.clock,
      data: (): WriterSetup => ({ ...setup, orphans: this.#backend === null ? [] : [this.#backend] }),
      message: (message) => {
        switch (message.type) {
          case 'done':
            this.#writing?.resolve(message.outcome);
            return;
          case 'tried':
            this.#connecting?.resolve(message.failure);
            return;
          case 'lost':
            host.lost();
            return;
          case 'backend':
            this.#backend = message.backend;
            return;
          case 'stopped':
            this.#stopped.resolve();
            return;
          case 'stats':
            observer.threadStats(name, message.stats);
            observer.writerStats(index, message.stats);
            return;
          case 'database':
            host.trouble(message.trouble);
            return;
          case 'log':
            env.log(message.level, message.message, message.fields);
        }
      },
      died: (failure) => {
        logDeath(env, name, failure);
        host.trouble(null);
      },
      restarted: (failure) => {
        this.#writing?.reject(failure);
        this.#connecting?.reject(failure);
      },
      waitMs: () => RESTART_MS,
    });
  }

  /** Rejects when the thread died; by then its successor knows which backend may still be writing. */
  write(batch: BatchWrite, attempt: WriteAttempt): Promise<WriteOutcome> {
    this.#writing = Promise.withResolvers();
    this.#worker.post({ type: 'write', batch, attempt });
    return this.#writing.promise;
  }

  /** One attempt. Rejects when the thread died. */
  connect(): Promise<Unconnected | null> {
    this.#connecting = Promise.withResolvers();
    this.#worker.post({ type: 'connect' });
    return this.#connecting.promise;
  }

  disconnect(): void {
    this.#worker.post({ type: 'disconnect' });
  }

  /** Closes the connection; a batch in flight is given up after its current attempt. */
  stop(): Promise<void> {
    return this.#worker.stop({ type: 'stop' }, { done: this.#stopped.promise });
  }
}

function logDeath({ log }: Env, thread: string, failure: Error): void {
  log('error', 'A worker thread died and is replaced', { thread, error: failure.message });
}
