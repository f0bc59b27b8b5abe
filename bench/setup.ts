import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { escapeIdentifier, type Client } from 'pg';
import { connect, parseDatabaseUrl } from '../src/store/postgres/connect.ts';
import { startEmbedded } from '../src/store/embedded/server.ts';
import { migrate } from '../src/store/schema/migrate.ts';

/** A running simulator. */
export interface BenchSim {
  address: string;
  stop(): Promise<void>;
}

/** A running daemon, seen from outside. */
export interface BenchDaemon {
  pid: number;
  /** http://127.0.0.1:PORT */
  health: string;
  /** ends it by SIGTERM; resolves with its exit code */
  stop(): Promise<number | null>;
}

export interface Bench {
  /** one line about the machine */
  machine: string;
  psql: string | null;
  say: (line: string) => void;
  url(database: string): string;
  /** with the schema, empty */
  createDatabase(): Promise<string>;
  dropDatabase(database: string): Promise<void>;
  connect(database: string): Promise<Client>;
  startSim(args: string[]): Promise<BenchSim>;
  startDaemon(sim: BenchSim, database: string, env: Record<string, string>): Promise<BenchDaemon>;
  /** a folder that the database's user and we can reach, emptied at the end */
  folder: string;
  close(): Promise<void>;
}

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const UP_MS_MAX = 300_000;

/** A server as somebody would run it who means it: every commit on disk, WAL and buffers for this load. */
const SETTINGS = {
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  wal_buffers: '64MB',
};

export async function openBench(options: {
  cpuProf: string | null;
  say: (line: string) => void;
}): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'tick-bench-'));
  await chmod(folder, 0o711);
  const server = await startEmbedded({
    dataDir: join(folder, 'postgres'),
    settings: SETTINGS,
    log: { info: () => {}, warn: () => {} },
  });
  let databases = 0;
  const connectTo = (database: string): Promise<Client> =>
    connect(parseDatabaseUrl(server.url(database)), { applicationName: 'bench' });
  const admin = await connectTo('postgres');
  return {
    machine: `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, PostgreSQL embedded (fsync on)`,
    psql: findPsql(),
    say: options.say,
    folder,
    url: (database) => server.url(database),
    connect: connectTo,
    async createDatabase() {
      databases += 1;
      const name = `bench_${databases}`;
      await admin.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
      const client = await connectTo(name);
      await migrate(client);
      await client.end();
      // what the round before left behind is not this one's to pay
      await admin.query('CHECKPOINT');
      return name;
    },
    async dropDatabase(database) {
      await admin.query(`DROP DATABASE ${escapeIdentifier(database)} WITH (FORCE)`);
    },
    startSim: (args) => startSim(args, options.say),
    startDaemon: (sim, database, env) => startDaemon(sim, server.url(database), env, options.cpuProf),
    async close() {
      await admin.end();
      await server.stop('fast');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function findPsql(): string | null {
  try {
    return execFileSync('sh', ['-c', 'command -v psql'], { encoding: 'utf8' }).trim();
  } catch {
    return null;
  }
}

async function startSim(args: string[], say: (line: string) => void): Promise<BenchSim> {
  say(`simulator: ${args.join(' ')}`);
  const child = spawn(
    process.execPath,
    [join(DIST, 'sim/main.js'), '--listen', '127.0.0.1:0', '--seed', '1', ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const address = await firstMatch(child, (line) => /listening on (\S+)/.exec(line)?.[1]);
  return { address, stop: async () => void (await end(child)) };
}

async function startDaemon(
  sim: BenchSim,
  url: string,
  env: Record<string, string>,
  cpuProf: string | null,
): Promise<BenchDaemon> {
  const flags = cpuProf === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProf}`];
  const child = spawn(process.execPath, [...flags, join(DIST, 'run/tick-ingester.js')], {
    cwd: tmpdir(),
    env: {
      PATH: process.env['PATH'],
      ENV: 'production',
      CONTINUUM_GRPC_URL: sim.address,
      DATABASE_URL: url,
      START_TICK: '1',
      HEALTH_CHECK_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await firstMatch(child, (line) => {
    const entry = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; port?: number }) : {};
    return entry.msg === 'Health, readiness and metrics are served' ? String(entry.port) : undefined;
  });
  return { pid: child.pid!, health: `http://127.0.0.1:${port}`, stop: () => end(child) };
}

/** Reads the child's stdout for good, so that it never blocks; resolves with the first match. */
function firstMatch(child: ChildProcess, match: (line: string) => string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${child.spawnfile} is not up`)), UP_MS_MAX);
    child.once('exit', (code) => reject(new Error(`it ended with code ${code}`)));
    let found = false;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (found) return;
      const text = match(line);
      if (text === undefined) return;
      found = true;
      clearTimeout(timer);
      resolve(text);
    });
  });
}

function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => {
    child.once('exit', resolve);
    child.kill('SIGTERM');
  });
}
