import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openRedisBus } from '../../../src/bus/redis/bus.ts';
import type { BusOpener, BusServer } from '../../conformance/bus-server.ts';
import { freePort } from './free-port.ts';
import { until } from '../until.ts';

export interface TestRedisOptions {
  /** `no` means no append-only file at all */
  appendfsync?: 'always' | 'everysec' | 'no';
  maxmemory?: string;
  policy?: string;
  /** default user's password */
  password?: string;
  /** anything else of redis.conf */
  settings?: Record<string, string>;
}

/** A redis-server of a test's own, on loopback and in a temporary folder. */
export interface TestRedis {
  readonly port: number;
  readonly pid: number;
  /** redis://127.0.0.1:PORT/0, without a password */
  readonly uri: string;
  /** redis-cli's output */
  cli(...args: string[]): Promise<string>;
  /** Commands one after the other, by one redis-cli. */
  cliLines(lines: readonly string[]): Promise<void>;
  /** SIGKILL, and up again on the same data and port. */
  crash(): Promise<void>;
  /** SIGKILL; start() brings it back. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Removes the data of a server that was killed. */
  wipe(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Stops it and removes its data. */
  stop(): Promise<void>;
}

const run = promisify(execFile);

/** Null: there is a redis-server; otherwise why the tests are skipped. */
export function redisMissing(): string | null {
  const folders = (process.env['PATH'] ?? '').split(':');
  const missing = ['redis-server', 'redis-cli'].filter(
    (name) => !folders.some((folder) => existsSync(join(folder, name))),
  );
  return missing.length === 0 ? null : `this machine has no ${missing.join(' and no ')}`;
}

export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-redis-'));
  const port = await freePort();
  const fsync = options.appendfsync ?? 'always';
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: fsync === 'no' ? 'no' : 'yes',
    appendfsync: fsync,
    'maxmemory-policy': options.policy ?? 'noeviction',
    ...(options.maxmemory === undefined ? {} : { maxmemory: options.maxmemory }),
    ...(options.password === undefined ? {} : { requirepass: options.password }),
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  let server: ChildProcess = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  let log = '';

  const start = async (): Promise<void> => {
    log = '';
    server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    server.stdout?.on('data', (bytes: Buffer) => (log = `${log}${bytes.toString()}`.slice(-4000)));
    server.stderr?.on('data', (bytes: Buffer) => (log = `${log}${bytes.toString()}`.slice(-4000)));
    await until(
      'redis-server listens',
      () => {
        if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}:\n${log}`);
        return answersPing(port);
      },
      { deadlineMs: 30_000, context: () => log },
    );
  };
  const kill = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    server.kill('SIGKILL');
    await gone;
  };
  // a test that throws must not leave a server behind
  const atExit = (): void => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', atExit);
  await start();
  const auth = options.password === undefined ? [] : ['--no-auth-warning', '-a', options.password];
  return {
    port,
    get pid() {
      return server.pid ?? 0;
    },
    uri: `redis://127.0.0.1:${port}/0`,
    async cli(...command) {
      const { stdout } = await run('redis-cli', ['-p', String(port), ...auth, ...command]);
      return stdout.trimEnd();
    },
    async cliLines(lines) {
      const cli = spawn('redis-cli', ['-e', '-p', String(port), ...auth], {
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      cli.stdin.end(`${lines.join('\n')}\n`);
      const [code] = (await once(cli, 'exit')) as [number | null];
      if (code !== 0) throw new Error(`redis-cli ended with ${code}`);
    },
    async crash() {
      await kill();
      await start();
    },
    kill,
    start,
    async wipe() {
      for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
    },
    freeze: () => void server.kill('SIGSTOP'),
    thaw: () => void server.kill('SIGCONT'),
    async stop() {
      process.off('exit', atExit);
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** True when it answers, whatever it answers but "loading". */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (bytes: Buffer) => settle(!bytes.toString().startsWith('-LOADING')));
    socket.once('error', () => settle(false));
    socket.once('close', () => resolve(false));
  });
}

export const openBus: BusOpener = (address, options) => openRedisBus(address, options);

/** Redis for the conformance suite: every publish is on disk before it is answered. */
export async function startRedisBus(): Promise<BusServer | { skip: string }> {
  const missing = redisMissing();
  if (missing !== null) return { skip: missing };
  const redis = await startRedis();
  return {
    kind: 'redis',
    opener: { module: new URL(import.meta.url), address: redis.uri },
    trimsExactly: true,
    open: (options) => openBus(redis.uri, options),
    crash: () => redis.crash(),
    async cutConnections() {
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    },
    freeze: () => redis.freeze(),
    thaw: () => redis.thaw(),
    async foreign(topic, _key, text) {
      await redis.cli('XADD', topic, '*', 'data', text);
    },
    async foreignMany(topic, events) {
      await redis.cliLines(events.map(({ text }) => `XADD ${topic} * data '${text}'`));
    },
    async foreignAt(topic, text, claimedMs) {
      await redis.cli('XADD', topic, `${claimedMs}-1`, 'data', text);
    },
    stop: () => redis.stop(),
  };
}
