import { readdir, readFile } from 'node:fs/promises';
import { DatabaseError, type Client } from 'pg';
import { isPooled } from '../postgres/pooler.ts';
import { findSchema } from './behind.ts';

/** How long a migration waits for another one, and its statements for locks of other sessions. */
const LOCK_WAIT = '60s';

/** A numbered file of schema/. */
export interface SchemaFile {
  /** as recorded in schema_migrations, e.g. 001_create_tables.sql */
  name: string;
  sql: string;
}

export interface SchemaStatus {
  /** recorded in the database and known here, in the order of their numbers */
  applied: string[];
  /** known here but not recorded */
  pending: string[];
  /** recorded but not known here: the schema is newer than this program */
  unknown: string[];
  /** the pending files that this stage (of STAGES) needs; empty: it can run */
  behindFor(stage: string): string[];
}

export interface MigrateOptions {
  /** default: those of the package */
  files?: readonly SchemaFile[];
  /** the last file to apply, by its name or number; default all */
  upTo?: string;
  /** apply recorded files too: each can safely be applied twice */
  again?: boolean;
  /** messages that the files report with RAISE NOTICE */
  onNotice?: (text: string) => void;
}

/** A file that the server refused. None of it is applied. */
export class MigrationError extends Error {
  override name = 'MigrationError';
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.code = code;
  }
}

/** The package's files, sorted by number. Found both from src/ and from dist/. */
export async function schemaFiles(): Promise<SchemaFile[]> {
  const folder = new URL('../../../schema/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => /^\d{3}_.*\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => ({ name, sql: await readFile(new URL(name, folder), 'utf8') })),
  );
}

/** What is applied in the schema in which the connection creates objects (the first of search_path). @throws NoSchema */
export async function schemaStatus(client: Client, known?: readonly SchemaFile[]): Promise<SchemaStatus> {
  const files = known ?? (await schemaFiles());
  const recorded = await readRecorded(client);
  const pending = files.filter((file) => !recorded.has(file.name));
  return {
    applied: files.filter((file) => recorded.has(file.name)).map((file) => file.name),
    pending: pending.map((file) => file.name),
    unknown: [...recorded].filter((name) => files.every((file) => file.name !== name)).sort(),
    behindFor: (stage) => pending.filter((file) => neededBy(file, stage)).map((file) => file.name),
  };
}

/**
 * Applies pending files one by one, each in its own transaction, while no other migration runs on this schema. Returns
 * the names applied. Throws MigrationError, NoSchema; the files before the failed one stay applied.
 */
export async function migrate(client: Client, options: MigrateOptions = {}): Promise<string[]> {
  const files = filesUpTo(options.files ?? (await schemaFiles()), options.upTo);
  const onNotice = ({ message }: { message?: string | undefined }): void => options.onNotice?.(message ?? '');
  client.on('notice', onNotice);
  const applyDue = async (): Promise<string[]> => {
    const recorded = await readRecorded(client);
    const due = files.filter((file) => options.again === true || !recorded.has(file.name));
    for (const file of due) await apply(client, file);
    return due.map((file) => file.name);
  };
  try {
    // a pooler's connection would keep the lock of a session: the files' own lock does, as each can be applied twice
    if (isPooled(client)) return await applyDue();
    await client.query(`SET lock_timeout = '${LOCK_WAIT}'`);
    return await underMigrationLock(client, applyDue);
  } finally {
    client.off('notice', onNotice);
    // a broken connection has already raised its own error
    if (!isPooled(client)) await client.query("SET lock_timeout = '0'").catch(() => {});
  }
}

/** The files take the same lock, so that `psql -f` and this wait for each other. */
const LOCK_KEY = `coalesce((SELECT oid FROM pg_namespace WHERE nspname = current_schema()), 0)::bigint::bit(32)::int, 2`;

async function underMigrationLock<T>(client: Client, work: () => Promise<T>): Promise<T> {
  try {
    await client.query(`SELECT pg_advisory_lock(${LOCK_KEY})`);
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== '55P03') throw error;
    throw new MigrationError(
      `another migration has been running for ${LOCK_WAIT}: wait for it and try again`,
      error.code,
    );
  }
  try {
    return await work();
  } finally {
    await client.query(`SELECT pg_advisory_unlock(${LOCK_KEY})`).catch(() => {});
  }
}

async function apply(client: Client, file: SchemaFile): Promise<void> {
  try {
    await client.query(file.sql); // the file contains its own transaction
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    if (!(error instanceof DatabaseError)) throw error;
    const line = error.position === undefined ? '' : `:${lineAt(file.sql, Number(error.position))}`;
    const hint =
      error.code === '55P03' ? `; a session held a lock for ${LOCK_WAIT}: try again when it is gone` : '';
    throw new MigrationError(`${file.name}${line}: ${error.message} (${error.code})${hint}`, error.code);
  }
}

async function readRecorded(client: Client): Promise<Set<string>> {
  const { rows } = await client.query<{ found: string | null; has_name: boolean }>(
    `SELECT c.oid::regclass::text AS found,
            EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'name') AS has_name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = current_schema() AND c.relname = 'schema_migrations'`,
  );
  const table = rows[0];
  if (table?.found == null) {
    await findSchema(client);
    return new Set();
  }
  if (!table.has_name) {
    throw new MigrationError(
      `${table.found} belongs to another program: give this one a schema of its own ` +
        '(create schema chain; then add options=-csearch_path%3Dchain to the database URL)',
      undefined,
    );
  }
  const recorded = await client.query<{ name: string }>(`SELECT name FROM ${table.found}`);
  return new Set(recorded.rows.map((row) => row.name));
}

function filesUpTo(files: readonly SchemaFile[], upTo: string | undefined): readonly SchemaFile[] {
  if (upTo === undefined) return files;
  const last = files.findIndex(
    (file) => file.name === upTo || Number(file.name.slice(0, 3)) === Number(upTo),
  );
  if (last < 0) {
    throw new MigrationError(
      `no schema file ${upTo}: ${files.map((file) => file.name).join(', ')}`,
      undefined,
    );
  }
  return files.slice(0, last + 1);
}

/** Each file lists the stages that need it in a line `-- stages: all` or `-- stages: ticks, bars`. */
function neededBy(file: SchemaFile, stage: string): boolean {
  const stages = /^-- stages:(.*)$/m
    .exec(file.sql)?.[1]
    ?.split(',')
    .map((name) => name.trim()) ?? ['all'];
  return stages.includes('all') || stages.includes(stage);
}

/** `position` counts characters from 1; the files are ASCII, so these equal string indices. */
function lineAt(text: string, position: number): number {
  return text.slice(0, position - 1).split('\n').length;
}
