import type { ColumnData } from '../../../../core/table/batch.ts';

/** The rows of a batch, or that there are no more. */
export type ToParquetWorker = { rows: number; data: readonly ColumnData[] } | 'finish';

/** The answer to each message: the bytes that are complete. */
export interface FromParquetWorker {
  bytes: Uint8Array<ArrayBuffer>;
  /** the file is whole */
  isLast: boolean;
}
