import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unreachableAncestor, type EmbeddedBinaries, type SystemUser } from './binaries.ts';

/** initdb on a slow disk with fsync */
const INITDB_MS_MAX = 120_000;

/** The files of one embedded server, all in the folder that `embedded:DIR` names. */
export interface ClusterFiles {
  dir: string;
  /** PGDATA */
  data: string;
  /** the superuser's password, for anyone who may read PGDATA */
  password: string;
  /** the server's own lock file: pid, port and state of the running server */
  pidFile: string;
  log: string;
  startLock: string;
}

export function clusterFiles(dir: string): ClusterFiles {
  const root = resolve(dir);
  const data = join(root, 'pgdata');
  return {
    dir: root,
    data,
    password: join(data, 'embedded_password'),
    pidFile: join(data, 'postmaster.pid'),
    log: join(root, 'server.log'),
    startLock: join(root, 'start.lock'),
  };
}

/**
 * The user the server runs as: null (this process's user) unless this process is root, which PostgreSQL refuses to run
 * as. As root: the owner of an existing cluster, else `nobody` (initdb needs an account with a name).
 */
export function serverUser(files: ClusterFiles): SystemUser | null {
  if (process.getuid?.() !== 0) return null;
  const cluster = statSync(files.data, { throwIfNoEntry: false });
  if (cluster !== undefined && cluster.uid !== 0) return { uid: cluster.uid, gid: cluster.gid };
  const account = accounts().find(({ name }) => name === 'nobody');
  return account === undefined ? { uid: 65534, gid: 65534 } : { uid: account.uid, gid: account.gid };
}

/** Creates the folder, and as root makes sure that the server's user can reach its contents. */
export function prepareFolder(files: ClusterFiles, user: SystemUser | null): void {
  if (!existsSync(files.dir)) {
    mkdirSync(files.dir, { recursive: true });
    chmodSync(files.dir, user === null ? 0o700 : 0o711);
  }
  if (user === null) return;
  const barrier = unreachableAncestor(files.dir, user);
  if (barrier !== null) {
    throw new Error(
      `the embedded PostgreSQL runs as user ${user.uid}, who may not enter ${barrier}: ` +
        `choose a data folder outside of it (DATABASE_URL=embedded:DIR)`,
    );
  }
}

/** Runs initdb where there is no cluster yet. A kill at any moment leaves either no cluster or a complete one. */
export async function ensureCluster(
  files: ClusterFiles,
  binaries: EmbeddedBinaries,
  user: SystemUser | null,
  options: { sync: boolean },
): Promise<'created' | 'present'> {
  if (existsSync(join(files.data, 'PG_VERSION'))) {
    if (!existsSync(files.password)) {
      throw new Error(
        `${files.data} is a cluster without its password file ${files.password}: restore that file`,
      );
    }
    return 'present';
  }
  if (existsSync(files.data)) throw new Error(`${files.data} exists but holds no cluster: move it away`);

  const fresh = join(files.dir, `pgdata.${randomBytes(6).toString('hex')}`);
  const passwordFile = `${fresh}.password`;
  mkdirSync(fresh, { mode: 0o700 });
  writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' });
  if (user !== null) {
    chownSync(fresh, user.uid, user.gid);
    chownSync(passwordFile, user.uid, user.gid); // initdb reads it as that user
  }
  const args = ['-D', fresh, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', passwordFile];
  args.push('-E', 'UTF8', '--locale', 'C', '--no-instructions');
  if (!options.sync) args.push('--no-sync');
  try {
    await run(binaries.initdb, args, fresh, user);
    // The password file is in the folder before the folder gets its name: no cluster exists without its password.
    await rename(passwordFile, join(fresh, basename(files.password)));
    await rename(fresh, files.data);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    await rm(passwordFile, { force: true });
    throw error;
  }
  return 'created';
}

/** What a server needs of the environment; the rest of ours (it may hold secrets) is not passed on. */
export const SERVER_ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };

async function run(program: string, args: string[], cwd: string, user: SystemUser | null): Promise<void> {
  const child = spawn(program, args, {
    cwd,
    env: SERVER_ENVIRONMENT,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: INITDB_MS_MAX,
    killSignal: 'SIGKILL',
    ...user,
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    if (errors.length < 4_000) errors += chunk;
  });
  const outcome = await new Promise<string | null>((settle) => {
    child.on('error', (error) => settle(error.message));
    child.on('close', (code, signal) => settle(code === 0 ? null : (signal ?? `exit code ${code}`)));
  });
  if (outcome !== null) {
    if (!hasAccount(user)) {
      throw new Error(
        `the embedded PostgreSQL cannot be created by uid ${user?.uid ?? process.getuid?.()}, which has no entry in ` +
          '/etc/passwd: add one, run as a user that has one, or set DATABASE_URL to a server of your own',
      );
    }
    throw new Error(`initdb failed (${outcome}): ${errors.trim().split('\n').slice(-3).join(' ')}`);
  }
}

/** initdb looks up the name of its user and has one exit code for everything. */
function hasAccount(user: SystemUser | null): boolean {
  if (user !== null) return accounts().some(({ uid }) => uid === user.uid);
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}

function accounts(): { name: string; uid: number; gid: number }[] {
  return readLines('/etc/passwd')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
}

/** Locks of this process: another call here is a live holder although the pid is our own. */
const LOCKS_HELD = new Set<string>();

/**
 * Runs `work` while no other process may create or start the server of this folder. A lock left by a dead process is
 * removed; one held longer than `msMax` is an error that names the file.
 */
export async function withStartLock<T>(
  files: ClusterFiles,
  msMax: number,
  work: () => Promise<T>,
): Promise<T> {
  const endsAt = performance.now() + msMax;
  while (!tookLock(files.startLock)) {
    if (performance.now() > endsAt) {
      throw new Error(
        `another process has been starting this server for ${msMax / 1000} s: see ${files.startLock}`,
      );
    }
    await delay(50);
  }
  LOCKS_HELD.add(files.startLock);
  try {
    return await work();
  } finally {
    LOCKS_HELD.delete(files.startLock);
    rmSync(files.startLock, { force: true });
  }
}

function tookLock(path: string): boolean {
  try {
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const holder = Number(readLines(path)[0]);
  // Containers reuse the same small pids: a lock with our own pid is from an earlier life.
  const gone = holder === process.pid ? !LOCKS_HELD.has(path) : holder > 0 && !processExists(holder);
  // Two processes may remove one stale lock at once and both continue; the server's own lock file then lets only one through.
  if (gone) rmSync(path, { force: true });
  return false;
}

/** The lines of a small file; none when it does not exist (any more). */
export function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
