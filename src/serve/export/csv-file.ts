import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Transform, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';

/** text gathered before it is written, characters */
const CHUNK = 64 * 1024;

/** A value of a cell: text is quoted where it has to be, null is empty, and numbers keep all their digits. */
export type Cell = string | number | null;

/**
 * A CSV file that is there whole or not at all: written aside, and renamed when it is finished. Compressed by its ending: .gz,
 * .zst. Parents are created.
 */
export class CsvFile {
  readonly #path: string;
  readonly #aside: string;
  readonly #out: Writable;
  readonly #packed: Transform | null;
  readonly #ended: Promise<unknown>;
  #text = '';
  rows = 0;

  private constructor(path: string) {
    this.#path = path;
    this.#aside = `${path}.part-${process.pid}`;
    const file = createWriteStream(this.#aside);
    this.#packed = path.endsWith('.gz') ? createGzip() : path.endsWith('.zst') ? createZstdCompress() : null;
    this.#packed?.pipe(file);
    this.#packed?.on('error', (error) => file.destroy(error));
    this.#out = this.#packed ?? file;
    this.#ended = finished(file);
    this.#ended.catch(() => {}); // close() or write() says so
  }

  /** Rejects with the error of the file system. */
  static async create(path: string, header: readonly string[]): Promise<CsvFile> {
    await mkdir(dirname(path), { recursive: true });
    const file = new CsvFile(path);
    await file.write([header]);
    file.rows = 0;
    return file;
  }

  async write(rows: Iterable<readonly Cell[]>): Promise<void> {
    for (const row of rows) {
      this.#text += `${row.map(cellText).join(',')}\n`;
      this.rows += 1;
      if (this.#text.length >= CHUNK) await this.#flush();
    }
  }

  async close(): Promise<void> {
    await this.#flush();
    this.#out.end();
    await this.#ended;
    await rename(this.#aside, this.#path);
  }

  /** Nothing is left of it. */
  async discard(): Promise<void> {
    this.#out.destroy();
    await rm(this.#aside, { force: true });
  }

  async #flush(): Promise<void> {
    const text = this.#text;
    this.#text = '';
    if (text === '') return;
    const drained = new Promise<void>((resolve) => {
      if (this.#out.write(text)) resolve();
      else this.#out.once('drain', resolve);
    });
    // a full disk ends the file, and never drains
    await Promise.race([drained, this.#ended]);
  }
}

function cellText(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return Number.isNaN(cell) ? '' : `${cell}`;
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
