import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { SystemUser } from './binaries.ts';
import { processExists, readLines, SERVER_ENVIRONMENT, type ClusterFiles } from './cluster.ts';

/** Includes crash recovery after a kill; copying the programs and initdb have their own limits. */
export const START_MS_MAX = 120_000;
const STOP_MS_MAX = 60_000;
const IMMEDIATE_STOP_MS_MAX = 10_000;
const POLL_MS = 20;
const POLL_ADOPTED_MS = 200;
const RETRY_MS = 200;
const LOG_BYTES_MAX = 16 * 1024 * 1024;

export type StopMode = 'smart' | 'fast' | 'immediate';

/** The part of a pino logger that is used here. */
export interface EmbeddedLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** A postmaster, started by this process or not. */
export interface ServerProcess {
  pid: number;
  port: number;
  adopted: boolean;
  exited: Promise<string>;
  hasExited(): boolean;
}

/** The server already running on this folder, once it is ready; null when none is. */
export async function adopt(files: ClusterFiles): Promise<ServerProcess | null> {
  const endsAt = performance.now() + START_MS_MAX;
  for (;;) {
    const lines = readLines(files.pidFile);
    const pid = Number(lines[0]);
    if (!Number.isInteger(pid) || pid <= 0) return null;
    if (!processExists(pid)) return null; // the server itself handles the lock of a dead process
    if (!isServerOf(pid, files.data)) {
      // The pid now belongs to another program, which the server would take for a running postmaster. A pid that no
      // process can have keeps the server's other checks (is the shared memory still in use?) in effect.
      lines[0] = '2147483647';
      writeFileSync(files.pidFile, lines.join('\n'));
      return null;
    }
    if (lines[7]?.trim() === 'ready') return adopted(pid, Number(lines[3]), files);
    if (performance.now() > endsAt) {
      throw new Error(`process ${pid} holds ${files.data} and does not get ready: see ${files.log}`);
    }
    await delay(POLL_MS);
  }
}

/** A process that is not our child gives no sign when it ends: it is polled, at least every POLL_ADOPTED_MS. */
function adopted(pid: number, port: number, files: ClusterFiles): ServerProcess {
  const { promise: exited, resolve: settle } = Promise.withResolvers<string>();
  const hasExited = (): boolean => {
    if (processExists(pid) && isServerOf(pid, files.data)) return false;
    clearInterval(timer);
    settle('the process is gone');
    return true;
  };
  const timer = setInterval(hasExited, POLL_ADOPTED_MS);
  timer.unref();
  return { pid, port, adopted: true, exited, hasExited };
}

/** A postmaster's working directory is its data folder. Where that cannot be looked up, any live process counts as the server. */
function isServerOf(pid: number, data: string): boolean {
  if (process.platform !== 'linux') return true;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES';
  }
}

export interface Launch {
  /** the postgres program */
  program: string;
  files: ClusterFiles;
  user: SystemUser | null;
  /** 0: any free one */
  port: number;
  /** these override ours */
  settings: Record<string, string>;
  log: EmbeddedLog;
}

/** Starts the server of an existing cluster and waits until it is ready. */
export async function launch(start: Launch): Promise<ServerProcess> {
  const endsAt = performance.now() + START_MS_MAX;
  for (;;) {
    const port = start.port === 0 ? await freePort() : start.port;
    const attempt = await launchOnce(start, port, endsAt);
    if (typeof attempt !== 'string') return attempt;
    // The server has one exit code for everything; LC_ALL=C keeps these messages stable.
    const portWasTaken = /could not (bind|create any TCP)/.test(attempt) && start.port === 0;
    const backendsStillEnd = /shared memory block .* still in use/.test(attempt);
    if (!(portWasTaken || backendsStillEnd) || performance.now() > endsAt) {
      throw new Error(`the embedded PostgreSQL did not start: ${attempt} (see ${start.files.log})`);
    }
    start.log.warn({ reason: attempt }, 'Embedded PostgreSQL did not start, trying again');
    await delay(RETRY_MS);
  }
}

/** The ready server, or its output before it ended. */
async function launchOnce(
  { program, files, user, settings }: Launch,
  port: number,
  endsAt: number,
): Promise<ServerProcess | string> {
  const args = ['-D', files.data];
  for (const [name, value] of Object.entries({ ...serverSettings(port), ...settings })) {
    args.push('-c', `${name}=${value}`);
  }
  const logStart = rotatedLogSize(files.log);
  const log = openSync(files.log, 'a', 0o600);
  // In its own session: Ctrl-C in a terminal must reach the daemon, which drains into this server, not the server itself.
  const child = spawn(program, args, {
    cwd: files.dir,
    env: SERVER_ENVIRONMENT,
    stdio: ['ignore', log, log],
    detached: true,
    ...user,
  });
  closeSync(log);
  const server = childServer(child, port);
  while (!server.hasExited()) {
    const lines = readLines(files.pidFile);
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') {
      child.unref();
      return server;
    }
    if (performance.now() > endsAt) {
      child.kill('SIGQUIT');
      return `not ready within ${START_MS_MAX / 1000} s`;
    }
    await delay(POLL_MS);
  }
  return reasonsIn(readFileSync(files.log).subarray(logStart).toString('utf8')) || (await server.exited);
}

/** The server's log of a failed start, without times and process numbers. */
function reasonsIn(log: string): string {
  const reasons = log
    .split('\n')
    .filter((line) => /FATAL|PANIC|could not/.test(line))
    .map((line) => line.replace(/^.*?\b(?:LOG|WARNING|FATAL|PANIC):\s+/, ''));
  return reasons.slice(0, 3).join('; ');
}

function serverSettings(port: number): Record<string, string> {
  return {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    shared_buffers: '256MB',
    max_wal_size: '2GB',
    // avoids a line every few minutes in a log that nobody rotates while the server runs
    log_checkpoints: 'off',
  };
}

function childServer(child: ChildProcess, port: number): ServerProcess {
  let ended = false;
  const exited = new Promise<string>((settle) => {
    const end = (how: string): void => {
      ended = true;
      settle(how);
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  return { pid: child.pid ?? 0, port, adopted: false, exited, hasExited: () => ended };
}

function rotatedLogSize(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LOG_BYTES_MAX) return size;
  renameSync(path, `${path}.old`);
  return 0;
}

export async function stop(server: ServerProcess, mode: StopMode, log: EmbeddedLog): Promise<void> {
  const signals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
  if (await ends(server, signals[mode], mode === 'immediate' ? IMMEDIATE_STOP_MS_MAX : STOP_MS_MAX)) return;
  log.warn({ pid: server.pid, mode }, 'Embedded PostgreSQL did not stop in time, ending it at once');
  if (await ends(server, 'SIGQUIT', IMMEDIATE_STOP_MS_MAX)) return;
  if (await ends(server, 'SIGKILL', IMMEDIATE_STOP_MS_MAX)) return;
  throw new Error(`process ${server.pid} (embedded PostgreSQL) cannot be ended`);
}

async function ends(server: ServerProcess, signal: NodeJS.Signals, msMax: number): Promise<boolean> {
  const endsAt = performance.now() + msMax;
  if (!server.hasExited()) {
    try {
      process.kill(server.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  while (!server.hasExited()) {
    if (performance.now() > endsAt) return false;
    await delay(POLL_MS);
  }
  return true;
}

/**
 * A free port, below the system's range for outgoing connections: a connection that retries while the server is down
 * could otherwise be given this very port and connect to itself.
 */
async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const isFree = await new Promise<boolean>((settle) => {
      const probe = createServer();
      probe.on('error', () => settle(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => settle(true)));
    });
    if (isFree) return port;
  }
  throw new Error('no free port between 15000 and 32000 on 127.0.0.1');
}
