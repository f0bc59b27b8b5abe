import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A pipe for the stdout of a process, which nobody reads until it is asked for. */
export interface UnreadPipe {
  /** blocking, as a shell makes it: of the writer */
  fd: number;
  /** Fills it, so that not one byte more goes in. */
  fill(): void;
  /** Reads until `done` says of the whole text so far that it is enough. */
  read(done: (text: string) => boolean): Promise<string>;
  close(): void;
}

export function unreadPipe(): UnreadPipe {
  const folder = mkdtempSync(join(tmpdir(), 'tick-pipe-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const fd = openSync(path, constants.O_WRONLY);
  return {
    fd,
    fill() {
      for (const bytes of [4096, 1]) while (takes(reader, bytes));
    },
    async read(done) {
      const buffer = Buffer.alloc(65_536);
      let text = '';
      const endMs = performance.now() + 30_000;
      while (!done(text)) {
        if (performance.now() > endMs) throw new Error(`not enough came: ${text.slice(-500)}`);
        try {
          text += buffer.toString('latin1', 0, readSync(reader, buffer));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
          await delay(5);
        }
      }
      return text;
    },
    close() {
      closeSync(reader);
      closeSync(fd);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function takes(fd: number, bytes: number): boolean {
  try {
    writeSync(fd, Buffer.alloc(bytes, ' '));
    return true;
  } catch {
    return false;
  }
}
