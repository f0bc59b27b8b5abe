import { parentPort, workerData } from 'node:worker_threads';
import { Batch } from '../../../../core/table/batch.ts';
import { ParquetFile } from './file.ts';
import type { FromParquetWorker, ToParquetWorker } from './messages.ts';

/** Makes one Parquet file; see ParquetWriter for the messages. */
const { columns } = workerData as { columns: Batch['columns'] };
const file = new ParquetFile(columns);

function answer(bytes: Uint8Array<ArrayBuffer>, isLast: boolean): void {
  const message: FromParquetWorker = { bytes, isLast };
  parentPort?.postMessage(message, bytes.length === 0 ? [] : [bytes.buffer]);
}

parentPort?.on('message', (message: ToParquetWorker) => {
  if (message === 'finish') {
    answer(file.finish(), true);
    parentPort?.close();
  } else answer(file.add(new Batch(columns, message.rows, message.data)), false);
});
