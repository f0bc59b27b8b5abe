import type { ChainCheckMode } from '../../core/copy/transcode.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { ParsedBatch, ParseTask } from '../parser/parse.ts';
import type { Unconnected, WriteAttempt, WriteOutcome } from '../writer/outcome.ts';
import type { CommittedBatch } from './commit.ts';

/** The writer threads, as far as their connections go. */
export interface ConnectedThreads {
  /** how many there are */
  writers: number;
  /** One attempt; null: it has a connection. Rejects when the thread died. */
  connect(writer: number): Promise<Unconnected | null>;
  disconnect(writer: number): void;
}

/** The threads, as the pipeline needs them. */
export interface PipelineThreads extends ConnectedThreads {
  parse(task: ParseTask): Promise<ParsedBatch>;
  /** To a writer that has a connection. */
  write(writer: number, batch: BatchWrite, attempt: WriteAttempt): Promise<WriteOutcome>;
  /** Tells the reader that a batch is done. */
  credit(): void;
}

/** What the pipeline asks of the run it works for, and what the run must learn at once. */
export interface PipelineHost {
  /** Records the first tick of a new chain; resolves with the effective origin, null when the epoch has moved on. */
  recordOrigin(first: bigint, epoch: bigint): Promise<bigint | null>;
  /** Whether this many more dead letters may be written; otherwise the brake halts the run. */
  admit(deadLetters: number): boolean;
  committed(batch: CommittedBatch): void;
  fenced(epoch: bigint): void;
}

export interface PipelineLimits {
  /** TICK_MAX_BYTES */
  tickBytesMax: number;
  /** CHAIN_CHECK */
  chainCheck: ChainCheckMode;
  /** The database's clock, µs since 1970: a tick more than a day ahead of it is refused. */
  nowMicros(): bigint;
  /** within which a batch must be answered, ms */
  answerMs: number;
}
