import type { Batch } from '../../../core/table/batch.ts';

/** Takes a chunk of a file; its memory is free once it resolves. One at a time. */
export type ByteSink = (chunk: Uint8Array) => Promise<void>;

/** Rows into the bytes of one file. Calls come one at a time; rejects with what the sink rejects with. */
export interface RowWriter {
  /** The batch is the writer's from then on. */
  write(batch: Batch): Promise<void>;
  finish(): Promise<void>;
  /** Frees what it has; idempotent, also after finish(). */
  close(): Promise<void>;
}
