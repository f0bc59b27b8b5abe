import { ByteSink } from './sink.ts';

/**
 * A CopyData message is closed at the first row that brings it to this size. The server buffers a whole message
 * before it reads its first row, so a batch in one message would cost the backend twice its size and delay its work;
 * below a few kilobytes the per-message overhead becomes noticeable. (Rows are never split, so a message is at most this
 * plus the largest row.)
 */
export const COPY_MESSAGE_BYTES = 64 * 1024;

/** 'd', CopyData */
const COPY_DATA = 0x64;
/** 'c', CopyDone */
const COPY_DONE = 0x63;
/** type byte and int32 length */
const MESSAGE_HEADER_BYTES = 5;

/** "PGCOPY\n\xff\r\n\0" */
const SIGNATURE = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00);

/**
 * Writes the rows of one COPY into a sink as messages of the PostgreSQL protocol: CopyData … CopyData, CopyDone, ready
 * for the socket. A message is open between begin() and finish(); its length is written when it is closed.
 */
export class CopyMessages {
  sink = new ByteSink();
  /** start of the open message in the sink */
  #start = 0;
  #markedLength = 0;
  #markedStart = 0;

  begin(sink: ByteSink): void {
    this.sink = sink;
    sink.reset();
    this.#open();
    sink.putBytes(SIGNATURE);
    sink.putInt32(0); // flags
    sink.putInt32(0); // length of the header extension
  }

  /** Remembers this position for rollback(). */
  mark(): void {
    this.#markedLength = this.sink.length;
    this.#markedStart = this.#start;
  }

  /** Discards all rows since mark(), including messages closed since then. */
  rollback(): void {
    this.sink.length = this.#markedLength;
    this.#start = this.#markedStart;
  }

  /** Call after writing a whole row up to `length`. */
  endRow(length: number): void {
    // a copy beyond the end of the memory is truncated silently, which must never happen to a row
    if (length > this.sink.bytes.length) throw new Error('a row was longer than the room reserved for it');
    this.sink.length = length;
    if (length - this.#start >= COPY_MESSAGE_BYTES + MESSAGE_HEADER_BYTES) {
      this.#close();
      this.#open();
    }
  }

  finish(): void {
    const sink = this.sink;
    sink.putInt16(-1); // end-of-rows marker
    this.#close();
    sink.ensure(MESSAGE_HEADER_BYTES);
    sink.bytes[sink.length] = COPY_DONE;
    sink.length += 1;
    sink.putInt32(4);
  }

  #open(): void {
    const sink = this.sink;
    sink.ensure(MESSAGE_HEADER_BYTES);
    this.#start = sink.length;
    sink.bytes[sink.length] = COPY_DATA;
    sink.length += MESSAGE_HEADER_BYTES;
  }

  #close(): void {
    this.sink.view.setInt32(this.#start + 1, this.sink.length - this.#start - 1);
  }
}
