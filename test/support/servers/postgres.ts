import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, escapeIdentifier } from 'pg';
import { startEmbedded, type EmbeddedServer } from '../../../src/store/embedded/server.ts';
import type { StopMode } from '../../../src/store/embedded/process.ts';

export interface TestPostgresOptions {
  /** default off: tests measure behaviour, not the disk */
  fsync?: boolean;
  settings?: Record<string, string>;
  port?: number;
}

export interface TestPostgres {
  /** `db` defaults to market_data, which is empty */
  url(db?: string): string;
  readonly port: number;
  readonly pid: number;
  /** the folder of `embedded:DIR`; PGDATA is pgdata below it */
  readonly dataDir: string;
  /** path of psql, null where the machine has none */
  readonly psql: string | null;
  /** Idempotent: stops the server and removes its folder. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  /** Ends the server and leaves its data; start() brings it back on the same port. */
  halt(mode?: StopMode): Promise<void>;
  start(): Promise<void>;
  restart(mode?: StopMode): Promise<void>;
  /** A database of its own, with the schema unless `schema: false`: a copy of a template, so some 20 ms. */
  createDatabase(name?: string, options?: { schema?: boolean }): Promise<string>;
}

/** What a test needs that only uses databases. */
export type SharedPostgres = Pick<TestPostgres, 'psql' | 'createDatabase' | 'stop'>;

const TEMPLATE = 'template_chain';
const quiet = { info: () => {}, warn: () => {} };
const schemaFolder = new URL('../../../schema/', import.meta.url);

/**
 * The server that scripts/test.ts started for all test files, or one of this file's own where a file is run by itself. Sessions,
 * locks and databases of others are on it too: look at pg_locks and pg_stat_activity by database, as the relations of all
 * databases have the same oids.
 */
export async function sharedPostgres(): Promise<SharedPostgres> {
  const url = process.env['TEST_POSTGRES_URL'] ?? '';
  if (url === '') return startPostgres();
  const made: string[] = [];
  return {
    psql: findPsql(),
    async createDatabase(name = 'test', { schema = true } = {}) {
      const unique = `${name}_${process.pid}_${made.length}`;
      await execute(url, createStatement(unique, schema));
      made.push(unique);
      return withDatabase(url, unique);
    },
    async stop() {
      for (const name of made.splice(0)) {
        await execute(url, `drop database if exists ${escapeIdentifier(name)} with (force)`);
      }
    },
  };
}

/**
 * The data of a server that has never run for anybody, with the template of databases. A copy of it is an own server in a
 * tenth of the time that initdb and the schema take: TEST_POSTGRES_DATA names it.
 */
export async function makePostgresData(): Promise<{ folder: string; remove(): Promise<void> }> {
  const server = await startPostgres();
  await makeTemplate(server.url('postgres'), server.url(TEMPLATE));
  await server.halt('fast');
  return { folder: join(server.dataDir, 'pgdata'), remove: () => server.stop() };
}

/** An embedded PostgreSQL of this test file's own, in a temporary folder: for tests that restart it, freeze it or look at it. */
export async function startPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tick-postgres-'));
  await chmod(dataDir, 0o711); // as root the server runs as another user, who must get through
  const settings = {
    ...(options.fsync === true ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    shared_buffers: '64MB',
    ...options.settings,
  };
  const data = process.env['TEST_POSTGRES_DATA'] ?? '';
  if (data !== '') await copyData(data, join(dataDir, 'pgdata'));
  let server: EmbeddedServer = await startEmbedded({
    dataDir,
    port: options.port ?? 0,
    settings,
    log: quiet,
  });
  const { port } = server;
  let databases = 0;
  let template: Promise<void> | null = data === '' ? null : Promise.resolve();

  const kill = (): void => {
    try {
      process.kill(server.pid, 'SIGQUIT');
    } catch {
      // it is gone, as it should be
    }
    removeWhileItEnds(dataDir);
  };
  // A test that throws, or that tap ends for its time, must not leave a server behind.
  process.once('exit', kill);
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  const end = (signal: NodeJS.Signals): void => {
    kill();
    for (const name of signals) process.off(name, end);
    process.kill(process.pid, signal);
  };
  for (const name of signals) process.once(name, end);

  const start = async (): Promise<void> => {
    server = await startEmbedded({ dataDir, port, settings, log: quiet });
  };
  return {
    url: (db) => server.url(db),
    port,
    get pid() {
      return server.pid;
    },
    dataDir,
    psql: findPsql(),
    start,
    halt: (mode) => server.stop(mode),
    async restart(mode) {
      await server.stop(mode);
      await start();
    },
    async stop(mode = 'immediate') {
      process.off('exit', kill);
      for (const name of signals) process.off(name, end);
      await server.stop(mode);
      await rm(dataDir, { recursive: true, force: true });
    },
    async createDatabase(name = `test_${++databases}`, { schema = true } = {}) {
      if (schema) await (template ??= makeTemplate(server.url('postgres'), server.url(TEMPLATE)));
      await execute(server.url('postgres'), createStatement(name, schema));
      return server.url(name);
    },
  };
}

/** The server of TIMESCALE_TEST_URL, or null with the reason to hand to tap's skip. */
export function timescaleUrl(): { url: string; skip: false } | { url: null; skip: string } {
  const url = process.env['TIMESCALE_TEST_URL'];
  if (url !== undefined && url !== '') return { url, skip: false };
  return { url: null, skip: 'TIMESCALE_TEST_URL names no server with TimescaleDB' };
}

/** One of the servers that a test of the schema runs against. */
export interface TestServer {
  name: 'embedded' | 'timescale';
  /** tap's option: false, or why this server is not there */
  skip: false | string;
  open(): Promise<OpenTestServer>;
}

export interface OpenTestServer {
  createDatabase(options?: { schema?: boolean }): Promise<string>;
  close(): Promise<void>;
}

/** The embedded server always, and the one of TIMESCALE_TEST_URL. */
export function testServers(): TestServer[] {
  const timescale = timescaleUrl();
  return [
    {
      name: 'embedded',
      skip: false,
      async open() {
        const server = await sharedPostgres();
        return {
          createDatabase: (options) => server.createDatabase(undefined, options),
          close: () => server.stop(),
        };
      },
    },
    { name: 'timescale', skip: timescale.skip, open: () => openExisting(timescale.url ?? '') },
  ];
}

/** A server that is not ours: the databases made here are dropped, and it goes on running. */
async function openExisting(serverUrl: string): Promise<OpenTestServer> {
  const made: string[] = [];
  return {
    async createDatabase({ schema = true } = {}) {
      const name = `tick_test_${process.pid}_${randomBytes(4).toString('hex')}`;
      await execute(serverUrl, `create database ${escapeIdentifier(name)}`);
      made.push(name);
      const url = withDatabase(serverUrl, name);
      if (schema) await execute(url, await schemaSql());
      return url;
    },
    async close() {
      for (const name of made.splice(0)) {
        await execute(serverUrl, `drop database if exists ${escapeIdentifier(name)} with (force)`);
      }
    },
  };
}

/** The server still writes while it ends, and a process that exits can wait for nothing but this. */
function removeWhileItEnds(folder: string): void {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < 40 && existsSync(folder); attempt++) {
    if (attempt > 0) Atomics.wait(nobody, 0, 0, 50);
    // throws, or leaves something without a word, when a file appears meanwhile
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch {
      continue;
    }
  }
}

async function makeTemplate(serverUrl: string, url: string): Promise<void> {
  await execute(serverUrl, `create database ${TEMPLATE}`);
  await execute(url, await schemaSql());
}

function createStatement(name: string, schema: boolean): string {
  return `create database ${escapeIdentifier(name)}${schema ? ` template ${TEMPLATE}` : ''}`;
}

function withDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** As root the files belong to another user, as whom the server runs. */
async function copyData(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', from, to]);
}

/** What STAGES=ingest needs, as `psql -f` would send it. */
export function schemaSql(): Promise<string> {
  return readFile(new URL('001_create_tables.sql', schemaFolder), 'utf8');
}

async function execute(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** The path of a file of schema/, for psql -f. */
export function schemaPath(name: string): string {
  return fileURLToPath(new URL(name, schemaFolder));
}

export function findPsql(): string | null {
  const folders = (process.env['PATH'] ?? '').split(':');
  return folders.map((folder) => join(folder, 'psql')).find((path) => existsSync(path)) ?? null;
}
