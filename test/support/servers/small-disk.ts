import { execFile } from 'node:child_process';
import { chown, mkdtemp, rm, stat, statfs, truncate, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SHM = '/dev/shm';
/** a whole /dev/shm that is filled must be a small one, as containers have it */
const SHM_BYTES_MAX = 256 * 2 ** 20;

/** A folder on a file system that can be filled up without harm to anybody else. */
export interface SmallDisk {
  folder: string;
  /** bytes that a server may still write */
  free(): Promise<number>;
  /** Takes everything but so many bytes. */
  fill(leave: number): Promise<void>;
  /** Gives back what fill() took. */
  release(): Promise<void>;
  close: () => Promise<void>;
}

/**
 * A tmpfs of its own where mounting is allowed, else a small /dev/shm.
 * @param like a path whose owner gets the folder
 * @returns why there is none, instead of one
 */
export async function smallDisk(bytes: number, like: string): Promise<SmallDisk | string> {
  const { uid, gid } = await stat(like);
  const place = await mountOwn(bytes).catch((error: Error) => error);
  if (!(place instanceof Error)) return diskIn(place, { uid, gid });
  const shm = await statfs(SHM).catch(() => null);
  if (shm !== null && shm.bsize * shm.bavail <= SHM_BYTES_MAX) {
    const folder = await mkdtemp(join(SHM, 'tick-disk-'));
    return diskIn({ folder, close: () => rm(folder, { recursive: true }) }, { uid, gid });
  }
  const why = place.message.split('\n').find((line) => line.startsWith('mount: ')) ?? place.message;
  return `no small file system can be had (${why.trim()}), and ${SHM} is absent or large`;
}

interface Place {
  folder: string;
  close: () => Promise<void>;
}

async function mountOwn(bytes: number): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-disk-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tick-disk', folder]);
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  // a process that was killed leaves no mount behind: detached, it goes with its last user
  const unmount = (): void => void execFile('umount', ['-l', folder]);
  process.once('exit', unmount);
  return {
    folder,
    async close() {
      process.off('exit', unmount);
      await run('umount', ['-l', folder]);
      await rm(folder, { recursive: true });
    },
  };
}

async function diskIn({ folder, close }: Place, owner: { uid: number; gid: number }): Promise<SmallDisk> {
  await chown(folder, owner.uid, owner.gid);
  const ballast = join(folder, 'ballast');
  const free = async (): Promise<number> => {
    const { bsize, bavail } = await statfs(folder);
    return bsize * bavail;
  };
  return {
    folder,
    free,
    async fill(leave) {
      const file = await open(ballast, 'a');
      try {
        const chunk = Buffer.alloc(2 ** 18);
        for (let left = (await free()) - leave; left > 0; left = (await free()) - leave) {
          await file.write(chunk, 0, Math.min(left, chunk.length));
        }
      } finally {
        await file.close();
      }
    },
    release: () => truncate(ballast),
    close,
  };
}
