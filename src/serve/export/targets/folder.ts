import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { TargetError, type ExportTarget, type TargetFailure, type TargetFile } from './target.ts';

export interface FolderOptions {
  /** of new files. Default 0o666, less the umask */
  mode?: number;
  /** called before bytes are written, with how many; throws where they may not be */
  admit?: (bytes: number) => void;
}

/** A name that nobody else uses is tried so often. */
const TRIES_MAX = 100;

/**
 * A folder of this machine, created when something is written. A file is written aside in its own folder, as
 * .NAME.HOST-PID-N.part, and renamed; what a killed process left aside is removed by the next one.
 */
export class FolderTarget implements ExportTarget {
  readonly #root: string;
  readonly #options: FolderOptions;

  constructor(root: string, options: FolderOptions = {}) {
    this.#root = root;
    this.#options = options;
  }

  address(name: string): string {
    return join(this.#root, name);
  }

  async create(name: string): Promise<TargetFile> {
    const path = this.address(name);
    try {
      await makeFolder(dirname(path));
      await removeLeftOvers(path);
      await refuseFolder(path);
      return await openAside(path, this.#options);
    } catch (error) {
      throw targetError(path, error);
    }
  }

  async read(name: string): Promise<Buffer | null> {
    try {
      return await readFile(this.address(name));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw targetError(this.address(name), error);
    }
  }

  async hasOthers(): Promise<boolean> {
    try {
      const all = await readdir(this.#root, { withFileTypes: true, recursive: true });
      return all.some((entry) => !entry.isDirectory() && !/^[._]/.test(entry.name));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw targetError(this.#root, error);
    }
  }

  async remove(name: string): Promise<void> {
    await rm(this.address(name), { force: true });
  }
}

/** With its parents. Node's own way never ends where a file system says ENOENT to a new folder, as /proc does. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (codeOf(error) !== 'ENOENT' || (await stat(dirname(path)).catch(() => null)) !== null) throw error;
    await makeFolder(dirname(path));
    await mkdir(path).catch((again: unknown) => {
      // another export was faster
      if (codeOf(again) !== 'EEXIST') throw again;
    });
  }
}

async function openAside(path: string, options: FolderOptions): Promise<TargetFile> {
  // O_EXCL follows no link either
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  for (let attempt = 0; ; attempt += 1) {
    const aside = join(dirname(path), `.${basename(path)}.${hostname()}-${process.pid}-${attempt}.part`);
    try {
      return new AsideFile(path, aside, await open(aside, flags, options.mode ?? 0o666), options);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' || attempt >= TRIES_MAX) throw error;
    }
  }
}

class AsideFile implements TargetFile {
  readonly #path: string;
  readonly #aside: string;
  readonly #handle: FileHandle;
  readonly #admit: (bytes: number) => void;
  #isPublished = false;

  constructor(path: string, aside: string, handle: FileHandle, { admit = () => {} }: FolderOptions) {
    this.#path = path;
    this.#aside = aside;
    this.#handle = handle;
    this.#admit = admit;
  }

  async write(chunk: Uint8Array): Promise<void> {
    try {
      this.#admit(chunk.length);
      for (let at = 0; at < chunk.length;) {
        const { bytesWritten } = await this.#handle.write(chunk, at);
        at += bytesWritten;
      }
    } catch (error) {
      throw targetError(this.#path, error);
    }
  }

  async finish(): Promise<void> {
    try {
      await this.#handle.sync();
      await this.#handle.close();
    } catch (error) {
      throw targetError(this.#path, error);
    }
  }

  async publish(): Promise<void> {
    try {
      await rename(this.#aside, this.#path);
      this.#isPublished = true;
      await syncFolder(dirname(this.#path));
    } catch (error) {
      throw targetError(this.#path, error);
    }
  }

  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {}); // it may be closed
    if (!this.#isPublished) await rm(this.#aside, { force: true }).catch(() => {}); // hidden, and removed by the next export
  }
}

/** So that the name outlives a power loss, as the bytes do. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function refuseFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (found?.isDirectory() === true) throw new TargetError('in_the_way', `${path} is a folder: name a file`);
}

/** Of processes of this machine that are gone. */
async function removeLeftOvers(path: string): Promise<void> {
  const prefix = `.${basename(path)}.${hostname()}-`;
  for (const name of await readdir(dirname(path))) {
    const pid = name.startsWith(prefix)
      ? /^(\d+)-\d+\.part$/.exec(name.slice(prefix.length))?.[1]
      : undefined;
    if (pid !== undefined && !isAlive(Number(pid))) await unlink(join(dirname(path), name)).catch(() => {}); // another one was faster
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

const KINDS: Readonly<Record<string, [TargetFailure, string]>> = {
  ENOSPC: ['no_space', 'no space is left on the device'],
  EDQUOT: ['no_space', 'the quota of the file system is used up'],
  EFBIG: ['no_space', 'the file is too large for the file system'],
  EACCES: ['denied', 'permission denied'],
  EPERM: ['denied', 'it is not permitted'],
  EROFS: ['denied', 'the file system is read-only'],
  ENOENT: ['denied', 'the folder cannot be made'],
  ENOTDIR: ['in_the_way', 'a part of the path is a file'],
  EISDIR: ['in_the_way', 'it is a folder'],
  EEXIST: ['in_the_way', 'a part of the path is a file'],
  ELOOP: ['in_the_way', 'a symbolic link is in the way'],
  ENAMETOOLONG: ['failed', 'the name is too long'],
};

function targetError(path: string, error: unknown): unknown {
  const code = codeOf(error);
  if (error instanceof TargetError || code === undefined) return error;
  const [kind, words] = KINDS[code] ?? ['failed', (error as Error).message];
  return new TargetError(kind, `cannot write ${path}: ${words} (${code})`, error);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
