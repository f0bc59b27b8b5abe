/** Where log lines go. They never stand in the way: no write waits for a reader, and no error of it reaches the caller. */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Most bytes of lines that wait for the destination; what comes beyond them is dropped and counted. */
export const LOG_WAITING_BYTES_MAX = 1024 * 1024;
/** Between two attempts to write what waits, ms: the first of a row, and the longest. */
const RETRY = { firstMs: 10, maxMs: 500 };
/** How long an exit waits for a reader that is slow, ms. */
const EXIT_MS_MAX = 1_000;
const EXIT_POLL_MS = 10;

const STDERR = 2;

/** What a process has lost of its log. */
export const logLosses = { lines: 0 };

/**
 * stdout or stderr of this process. A line is written at once; what the destination does not take (a pipe that nobody reads,
 * a full disk, a terminal that is gone) waits, and is tried again with growing waits. An exit gives it a second more.
 */
export class LogSink {
  readonly fd: number;
  /** told how many lines were dropped, and the last error's code, once lines go through again */
  onRecovered: ((lines: number, code: string) => void) | null = null;
  #target: number | null = null;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #code = 'EAGAIN';
  #retryMs = RETRY.firstMs;
  #timer: NodeJS.Timeout | null = null;

  constructor(fd: number) {
    this.fd = fd;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#waiting.length === 0) {
      const written = this.#tryWrite(bytes);
      if (written < bytes.length) this.#wait(bytes.subarray(written));
    } else if (this.#waitingBytes + bytes.length <= LOG_WAITING_BYTES_MAX) {
      this.#wait(bytes);
    } else {
      this.#dropped += 1;
      logLosses.lines += 1;
    }
  }

  /** For a process that ends: waits a little for a reader that is slow, and not at all for a destination with an error. */
  flushSync(): void {
    const endMs = performance.now() + EXIT_MS_MAX;
    const never = new Int32Array(new SharedArrayBuffer(4));
    while (!this.#flush() && this.#code === 'EAGAIN' && performance.now() < endMs) {
      Atomics.wait(never, 0, 0, EXIT_POLL_MS);
    }
    if (this.#waiting.length === 0) this.#recovered();
  }

  #wait(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#timer === null) this.#retryLater();
  }

  #retryLater(): void {
    this.#timer = setTimeout(() => this.#retry(), this.#retryMs).unref();
  }

  #retry(): void {
    this.#timer = null;
    if (this.#flush()) {
      this.#retryMs = RETRY.firstMs;
      this.#recovered();
      return;
    }
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY.maxMs);
    this.#retryLater();
  }

  /** Whether nothing waits any more. */
  #flush(): boolean {
    while (this.#waiting.length > 0) {
      const bytes = this.#waiting[0];
      const written = this.#tryWrite(bytes);
      this.#waitingBytes -= written;
      if (written < bytes.length) {
        // the rest of a line that was begun stays the first
        this.#waiting[0] = bytes.subarray(written);
        return false;
      }
      this.#waiting.shift();
      this.#retryMs = RETRY.firstMs;
    }
    return true;
  }

  #recovered(): void {
    const lines = this.#dropped;
    if (lines === 0) return;
    this.#dropped = 0;
    this.onRecovered?.(lines, this.#code);
  }

  /** How many bytes the destination took before it took no more. */
  #tryWrite(bytes: Buffer): number {
    let written = 0;
    try {
      this.#target ??= this.#open();
      // a part is taken without a word about the rest: the next attempt says why
      while (written < bytes.length) written += writeSync(this.#target, bytes, written);
    } catch (error) {
      this.#code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
    return written;
  }

  /** The destination in a form that does not block. Whoever shares our stdout keeps his as it is where the kernel allows that. */
  #open(): number {
    const { fd } = this;
    const isFile = fstatSync(fd).isFile();
    process.on('exit', () => this.flushSync());
    if (isFile) return fd;
    try {
      return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      // a socket, another system, or another user's: Node's own stream switches blocking off
      const stream = fd === STDERR ? process.stderr : process.stdout;
      stream.on('error', () => {});
      return fd;
    }
  }
}
