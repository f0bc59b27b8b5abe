import type { LogLine } from '../core/env.ts';
import type { BatchWrite } from '../store/chain/batch.ts';
import type { ParsedBatch, ParseTask } from './parser/parse.ts';
import type { PipelineThreads } from './pipeline/pipeline.ts';
import type { FromReader, ReaderSetup, ToReader } from './reader/reader-thread.ts';
import type { Ring } from './ring.ts';
import type { ThreadStats } from './thread-stats.ts';
import { ParserPool, ReaderThread, WriterThread, type ThreadsHost } from './threads.ts';
import type { DatabaseTrouble, WriteOutcome } from './writer/batch-writer.ts';
import type { FromWriter, WriterSetup, WriterStats } from './writer/writer-thread.ts';

export interface CrewOptions {
  reader: Omit<ReaderSetup, 'geometry' | 'memory'>;
  parsers: number;
  writers: Omit<WriterSetup, 'orphans'>[];
}

export interface CrewHost {
  nowMs(): number;
  readonly log: LogLine;
  fromReader(message: FromReader): void;
  /** it is replaced by one that waits to be started */
  readerDied(error: Error): void;
  threadStats(thread: string, stats: ThreadStats): void;
  writerStats(index: number, stats: WriterStats): void;
}

/** The threads around one ring: one that reads, some that parse, some that write; and what ails the writers. */
export class Crew implements PipelineThreads {
  readonly #host: CrewHost;
  readonly #reader: ReaderThread;
  readonly #parsers: ParserPool;
  readonly #writers: WriterThread[];
  /** by writer; empty when all of them are well */
  readonly databaseTrouble = new Map<number, DatabaseTrouble>();

  constructor(ring: Ring, options: CrewOptions, host: CrewHost) {
    this.#host = host;
    const threads = this.#threadsHost();
    const { geometry, memory } = ring;
    this.#parsers = new ParserPool(ring, options.parsers, geometry.slabCount, threads, () => host.nowMs());
    this.#writers = options.writers.map((setup) => new WriterThread({ ...setup, orphans: [] }, threads));
    this.#reader = new ReaderThread({ ...options.reader, geometry, memory }, threads);
  }

  get writers(): number {
    return this.#writers.length;
  }

  /** How long the oldest parse has been under way, ms; 0 when none is. */
  get oldestParseMs(): number {
    return this.#parsers.oldestMs(this.#host.nowMs());
  }

  toReader(message: ToReader): void {
    this.#reader.post(message);
  }

  parse(task: ParseTask): Promise<ParsedBatch> {
    return this.#parsers.parse(task);
  }

  write(writer: number, batch: BatchWrite, unknown: boolean): Promise<WriteOutcome> {
    return this.#writers[writer].write(batch, unknown);
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

  #fromWriter(index: number, message: FromWriter): void {
    if (message.type === 'log') this.#host.log(message.level, message.message, message.fields);
    if (message.type === 'stats') this.#host.writerStats(index, message.stats);
    if (message.type !== 'database') return;
    if (message.trouble === null) this.databaseTrouble.delete(index);
    else this.databaseTrouble.set(index, message.trouble);
  }

  #threadsHost(): ThreadsHost {
    return {
      fromReader: (message) => this.#host.fromReader(message),
      fromWriter: (index, message) => this.#fromWriter(index, message),
      stats: (thread, stats) => this.#host.threadStats(thread, stats),
      died: (thread, error) => {
        this.#host.log('error', 'A worker thread died and is replaced', { thread, error: error.message });
        if (thread.startsWith('writer-')) this.databaseTrouble.delete(Number(thread.slice('writer-'.length)));
        if (thread === 'reader') this.#host.readerDied(error);
      },
    };
  }
}
