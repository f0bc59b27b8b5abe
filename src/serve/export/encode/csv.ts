import { once } from 'node:events';
import type { Transform } from 'node:stream';
import { createGzip, createZstdCompress } from 'node:zlib';
import type { Compression } from '../../../core/export/format.ts';
import type { Batch } from '../../../core/table/batch.ts';
import type { Column } from '../../../core/table/column.ts';
import { CsvText } from '../../format/csv.ts';
import { TextSink } from '../../format/text-sink.ts';
import type { ByteSink, RowWriter } from './row-writer.ts';

export interface CsvWriterOptions {
  columns: readonly Column[];
  compression: Compression;
  isForSpreadsheets: boolean;
}

/** Lines end with \n. The chunk before is written while the next one is made. */
export class CsvWriter implements RowWriter {
  readonly #text: CsvText;
  readonly #bytes: BytePipe;
  readonly #header: Buffer;
  /** while one is written, the other is filled */
  #filling = new TextSink();
  #writing = new TextSink();
  #pending: Promise<void> | null = null;

  constructor({ columns, compression, isForSpreadsheets }: CsvWriterOptions, sink: ByteSink) {
    this.#text = new CsvText({ lineEnd: '\n', isForSpreadsheets });
    this.#header = this.#text.header(columns);
    this.#bytes = compression === 'none' ? new PlainPipe(sink) : new PackedPipe(compression, sink);
  }

  async write(batch: Batch): Promise<void> {
    const header = this.#pending === null ? this.#header : null;
    const out = this.#filling;
    out.length = 0;
    this.#text.put(batch, out);
    await this.#pending;
    [this.#filling, this.#writing] = [this.#writing, out];
    this.#pending = this.#write(header, out.bytes.subarray(0, out.length));
    this.#pending.catch(() => {}); // the next call says so
  }

  async finish(): Promise<void> {
    if (this.#pending === null) await this.#bytes.write(this.#header);
    await this.#pending;
    await this.#bytes.finish();
  }

  close(): Promise<void> {
    this.#bytes.close();
    return Promise.resolve();
  }

  async #write(header: Buffer | null, rows: Buffer): Promise<void> {
    if (header !== null) await this.#bytes.write(header);
    await this.#bytes.write(rows);
  }
}

interface BytePipe {
  write(chunk: Buffer): Promise<void>;
  finish(): Promise<void>;
  close(): void;
}

class PlainPipe implements BytePipe {
  readonly write: ByteSink;

  constructor(sink: ByteSink) {
    this.write = sink;
  }

  finish(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

/** A compressor gets pieces of this size: what it makes does not depend on how the rows came. */
const PIECE_BYTES = 256 * 1024;

class PackedPipe implements BytePipe {
  readonly #packer: Transform;
  readonly #packed: Promise<void>;
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #length = 0;

  constructor(compression: 'gzip' | 'zstd', sink: ByteSink) {
    this.#packer = compression === 'gzip' ? createGzip() : createZstdCompress();
    this.#packed = pump(this.#packer, sink);
    this.#packed.catch(() => {}); // the next call says so
  }

  async write(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      const taken = chunk.copy(this.#piece, this.#length, at);
      at += taken;
      this.#length += taken;
      if (this.#length === PIECE_BYTES) await this.#flush();
    }
  }

  async finish(): Promise<void> {
    await this.#flush();
    this.#packer.end();
    await this.#packed;
  }

  close(): void {
    this.#packer.destroy();
  }

  async #flush(): Promise<void> {
    if (this.#length === 0) return;
    const piece = this.#piece.subarray(0, this.#length);
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#length = 0;
    if (this.#packer.write(piece)) return;
    // a sink that fails ends the packer, which never drains then
    await Promise.race([once(this.#packer, 'drain'), this.#packed]);
  }
}

async function pump(from: Transform, sink: ByteSink): Promise<void> {
  for await (const chunk of from) await sink(chunk as Buffer);
}
