import { ByteSink } from './sink.ts';

/**
 * A CopyData message is closed at the first row that brings it to this size. The server keeps a whole message in
 * memory before it reads the first row of it, so a batch in one message would cost the backend its size twice over and
 * start its work late; below some kilobytes the messages themselves begin to cost. (A row is never cut, so a message
 * is at most this and the largest row.)
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
 * The rows of one COPY as messages of the PostgreSQL protocol, in a sink: CopyData … CopyData, CopyDone, ready for the
 * socket. A message is open between begin() and finish(); its length is written when it is closed.
 */
export class CopyMessages {
  sink = new ByteSink();
  /** where the open message begins in the sink */
  #start = 0;
  #markedLength = 0;
  #markedStart = 0;

  begin(sink: ByteSink): void {
    this.sink = sink;
    sink.reset();
    this.#open();
    sink.putBytes(SIGNATURE);
    sink.putInt32(0); // flags
    sink.putInt32(0); // bytes of the header's extension
  }

  /** Remembers this place: rollback() returns to it. */
  mark(): void {
    this.#markedLength = this.sink.length;
    this.#markedStart = this.#start;
  }

  /** Takes back every row since mark(), messages that were closed since then included. */
  rollback(): void {
    this.sink.length = this.#markedLength;
    this.#start = this.#markedStart;
  }

  /** The caller has written a whole row up to `length`. */
  endRow(length: number): void {
    // a copy beyond the memory is cut silently, which must never happen to a row
    if (length > this.sink.bytes.length) throw new Error('a row was longer than the room reserved for it');
    this.sink.length = length;
    if (length - this.#start >= COPY_MESSAGE_BYTES + MESSAGE_HEADER_BYTES) {
      this.#close();
      this.#open();
    }
  }

  finish(): void {
    const sink = this.sink;
    sink.putInt16(-1); // end of the rows
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
