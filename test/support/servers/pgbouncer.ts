import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { until } from '../until.ts';

/** A pgbouncer of a test's own, before the server of one URL. */
export interface TestPgbouncer {
  /** the same database through it */
  url(databaseUrl: string): string;
  stop(): Promise<void>;
}

export interface PgbouncerOptions {
  poolMode: 'transaction' | 'session';
  /** connections to the server for each database */
  poolSize?: number;
  settings?: Record<string, string>;
}

const PATHS = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'];

/** Why it cannot be had here, as tap's skip wants it. */
export function noPgbouncer(): false | string {
  return PATHS.some(existsSync) ? false : 'this machine has no pgbouncer';
}

/** The server process changes with every transaction as far as it can: each one takes the connection idle for longest. */
export async function startPgbouncer(serverUrl: string, options: PgbouncerOptions): Promise<TestPgbouncer> {
  const { hostname, port: serverPort, username, password } = new URL(serverUrl);
  const folder = await mkdtemp(join(tmpdir(), 'tick-pgbouncer-'));
  await chmod(folder, 0o755); // as root it runs as another user
  const port = await freePort();
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: options.poolMode,
    default_pool_size: String(options.poolSize ?? 12),
    max_client_conn: '500',
    server_round_robin: '1',
    ...options.settings,
  };
  const text = [
    '[databases]',
    `* = host=${hostname} port=${serverPort} user=${decodeURIComponent(username)} password='${decodeURIComponent(password)}'`,
    '[pgbouncer]',
    ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
  ].join('\n');
  const file = join(folder, 'pgbouncer.ini');
  await writeFile(file, `${text}\n`, { mode: 0o644 });
  const program = PATHS.find(existsSync) ?? 'pgbouncer';
  const asOther = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  let log = '';
  const child: ChildProcess = spawn(program, [...asOther, file], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (bytes: Buffer) => (log = `${log}${bytes.toString()}`.slice(-4000)));
  }
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  await until(
    'pgbouncer listens',
    () => {
      if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}:\n${log}`);
      return accepts(port);
    },
    { deadlineMs: 20_000, context: () => log },
  );
  return {
    url(databaseUrl) {
      const url = new URL(databaseUrl);
      url.hostname = '127.0.0.1';
      url.port = String(port);
      return url.href;
    },
    async stop() {
      process.off('exit', kill);
      if (child.exitCode === null) {
        const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
        child.kill('SIGKILL');
        await gone;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
