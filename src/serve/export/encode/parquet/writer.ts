import { Worker } from 'node:worker_threads';
import type { Batch } from '../../../../core/table/batch.ts';
import type { Column } from '../../../../core/table/column.ts';
import { Signal } from '../../../../core/wait.ts';
import { workerFile } from '../../../../ingest/worker.ts';
import type { ByteSink, RowWriter } from '../row-writer.ts';
import type { FromParquetWorker, ToParquetWorker } from './messages.ts';

/** Batches that the worker has; the next one waits. */
const UNDER_WAY_MAX = 4;

/** A Parquet file made by a thread of its own, while this one reads rows. */
export class ParquetWriter implements RowWriter {
  readonly #worker: Worker;
  readonly #sink: ByteSink;
  readonly #changed = new Signal();
  #underWay = 0;
  #written: Promise<void> = Promise.resolve();
  /** its last answer came */
  #hasEnded = false;
  /** that is written, too */
  #isWhole = false;
  #error: Error | null = null;

  constructor(columns: readonly Column[], sink: ByteSink) {
    this.#sink = sink;
    this.#worker = new Worker(workerFile(import.meta.url, 'parquet'), {
      workerData: { columns: columns.map(plain) },
    });
    this.#worker.on('message', (message: FromParquetWorker) => this.#take(message));
    this.#worker.on('error', (error) => this.#fail(error as Error));
    this.#worker.on('exit', () => {
      if (!this.#hasEnded) this.#fail(new Error('the thread that makes the Parquet file ended'));
    });
  }

  async write({ rows, data }: Batch): Promise<void> {
    while (this.#underWay >= UNDER_WAY_MAX && this.#error === null) await this.#changed.wait();
    this.#check();
    this.#post({ rows, data }, buffersOf(data));
  }

  async finish(): Promise<void> {
    this.#check();
    this.#post('finish', []);
    while (!this.#isWhole && this.#error === null) await this.#changed.wait();
    await this.#written;
    this.#check();
  }

  async close(): Promise<void> {
    if (this.#error === null && !this.#isWhole) this.#error = new Error('closed');
    await this.#worker.terminate();
  }

  #post(message: ToParquetWorker, transfer: ArrayBuffer[]): void {
    this.#underWay += 1;
    this.#worker.postMessage(message, transfer);
  }

  #take({ bytes, isLast }: FromParquetWorker): void {
    this.#hasEnded ||= isLast;
    this.#written = this.#written
      .then(() => (bytes.length === 0 ? undefined : this.#sink(bytes)))
      .then(() => {
        // a batch counts until its bytes are written: a slow target holds up the reader
        this.#underWay -= 1;
        this.#isWhole ||= isLast;
        this.#changed.fire();
      })
      .catch((error: unknown) => this.#fail(error as Error));
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#changed.fire();
  }

  #check(): void {
    if (this.#error !== null) throw this.#error;
  }
}

/** Without SQL and functions. */
function plain({ name, type }: Column): Column {
  return { name, type };
}

/** The memory of a batch goes to the worker; what is empty may be shared by several. */
function buffersOf(data: Batch['data']): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  const add = (view: ArrayBufferView | null): void => {
    if (view !== null && view.byteLength > 0) buffers.add(view.buffer as ArrayBuffer);
  };
  for (const { data: values, validity } of data) {
    add(validity);
    if (values.kind === 'text') {
      add(values.bytes);
      add(values.offsets);
    } else if (values.kind === 'dictionary') add(values.codes);
    else add(values.values);
  }
  return [...buffers];
}
