import type { ChainCheckMode } from '../../core/copy/transcode.ts';
import type { BatchWrite } from '../../store/chain/batch.ts';
import type { ParsedBatch, ParseTask } from '../parser/parse.ts';
import type { WriteAttempt, WriteOutcome } from '../writer/batch-writer.ts';
import type { CommittedBatch } from './commit.ts';

/** The threads, as the pipeline needs them. */
export interface PipelineThreads {
  parse(task: ParseTask): Promise<ParsedBatch>;
  /** How many batches can be written at once. */
  writers: number;
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
