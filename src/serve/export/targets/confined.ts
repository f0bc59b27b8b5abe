import { constants } from 'node:fs';
import { mkdir, open, readdir, realpath, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { FolderTarget } from './folder.ts';
import { TargetError, type ExportTarget, type TargetFile } from './target.ts';

/** A folder of a place has so many at most. */
const SEGMENTS_MAX = 8;
/** what a name may be: nothing hidden, nothing that means another folder, nothing that a shell or a browser reads in its own way */
const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._=%+,@-]{0,127}$/;

/** Of the program alone: what is exported may be read by download only. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** A place below the directory, such as ticks/ibkr.csv. @throws TargetError for any that could be elsewhere */
export function checkPlace(place: string): string {
  const segments = place.split('/');
  if (segments.length <= SEGMENTS_MAX && segments.every((segment) => SEGMENT.test(segment))) return place;
  throw new TargetError(
    'denied',
    'the output must be a path below the export folder: names of letters, digits and . _ = % + , @ -, which begin with a letter or a digit, separated by /',
  );
}

/**
 * One directory that nothing leaves: names are checked, links are not followed, and where a folder really is, is looked at both
 * before a file is made and before it is published. Its files together have `quotaBytes` at most.
 */
export class ConfinedTarget implements ExportTarget {
  readonly #root: string;
  readonly #folder: FolderTarget;
  readonly #quotaBytes: number;

  #usedBytes = 0;

  private constructor(root: string, quotaBytes: number) {
    this.#root = root;
    this.#quotaBytes = quotaBytes;
    this.#folder = new FolderTarget(root, { mode: FILE_MODE, admit: (bytes) => this.#admit(bytes) });
  }

  /** The directory is made. Rejects with the error of the file system. */
  static async open(directory: string, quotaBytes: number): Promise<ConfinedTarget> {
    await mkdir(directory, { recursive: true, mode: FOLDER_MODE });
    const root = await realpath(directory);
    return new ConfinedTarget(root, quotaBytes);
  }

  /** Counts what is there: files may have been removed or replaced. */
  async measure(): Promise<void> {
    this.#usedBytes = await bytesBelow(this.#root);
  }

  /** As it is shown: without the directory. */
  address(name: string): string {
    return name;
  }

  async create(name: string): Promise<TargetFile> {
    await this.#makeFolders(name);
    const file = await this.#folder.create(name);
    return {
      write: (chunk) => file.write(chunk),
      finish: () => file.finish(),
      discard: () => file.discard(),
      publish: async () => {
        await this.#check(dirname(join(this.#root, name)));
        await file.publish();
      },
    };
  }

  async read(name: string): Promise<Buffer | null> {
    const handle = await this.openFile(name);
    if (handle === null) return null;
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  }

  async hasOthers(): Promise<boolean> {
    return this.#folder.hasOthers();
  }

  /** A folder in it, under the same rules. */
  below(folder: string): ExportTarget {
    const of = (name: string): string => (name === '' ? folder : `${folder}/${name}`);
    return {
      address: of,
      create: (name) => this.create(of(name)),
      read: (name) => this.read(of(name)),
      remove: (name) => this.remove(of(name)),
      hasOthers: async () => (await bytesBelow(join(this.#root, folder)).catch(() => 0)) > 0,
    };
  }

  async remove(name: string): Promise<void> {
    const path = join(this.#root, checkName(name));
    if ((await stat(dirname(path)).catch(() => null)) === null) return;
    await this.#check(dirname(path));
    await this.#folder.remove(name);
  }

  /** A file to be read; null: there is none, or it is no file. The caller closes it. */
  async openFile(name: string): Promise<FileHandle | null> {
    const path = join(this.#root, checkName(name));
    let handle: FileHandle;
    try {
      await this.#check(dirname(path));
      // a pipe that somebody put there must not hold the program
      handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (error instanceof TargetError || ['ENOENT', 'ELOOP', 'ENOTDIR'].includes(codeOf(error))) return null;
      throw error;
    }
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    return null;
  }

  async #makeFolders(name: string): Promise<void> {
    const segments = checkName(name).split('/').slice(0, -1);
    let path = this.#root;
    for (const segment of segments) {
      path = join(path, segment);
      await mkdir(path, { mode: FOLDER_MODE }).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error;
      });
      await this.#check(path);
    }
  }

  /** Where the folder really is: a link may stand for one. */
  async #check(path: string): Promise<void> {
    const real = await realpath(path);
    if (real !== this.#root && !real.startsWith(`${this.#root}${sep}`))
      throw new TargetError(
        'denied',
        'the output must be below the export folder: a symbolic link leads out of it',
      );
  }

  #admit(bytes: number): void {
    if (this.#usedBytes + bytes > this.#quotaBytes)
      throw new TargetError(
        'no_space',
        `the exports have used up their ${this.#quotaBytes} bytes: remove some`,
      );
    this.#usedBytes += bytes;
  }
}

/** A place, or what belongs to one: its parts, its manifest. */
function checkName(name: string): string {
  return name
    .split('/')
    .map((segment) => (/^_manifest-\d+\.json$/.test(segment) ? segment : checkPlace(segment)))
    .join('/');
}

async function bytesBelow(root: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => null);
    sum += found?.size ?? 0;
  }
  return sum;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | null)?.code ?? '';
}
