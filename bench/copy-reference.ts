import { execFile } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { PROOFS, TICKS, TRANSACTIONS } from '../src/core/copy/tables.ts';
import type { Bench } from './setup.ts';

const TABLES = [TICKS, PROOFS, TRANSACTIONS].map((table) => ({
  name: table.name,
  columns: table.columns.map((column) => `"${column.name}"`).join(', '),
}));
const run = promisify(execFile);

/**
 * What the database itself can do: the rows that were just ingested, from prepared files into empty tables of the same
 * schema, over one connection, in one transaction. By psql \copy where the machine has it, else by pg-copy-streams.
 */
export async function copyReference(
  bench: Bench,
  database: string,
  ticks: number,
): Promise<{ ticksPerSecond: number; tool: string }> {
  const files = TABLES.map(({ name }) => join(bench.folder, `${name}.copy`));
  await exportTables(bench, database, files);
  const target = await bench.createDatabase();
  for (const file of files) await stat(file);
  const beganMs = performance.now();
  if (bench.psql === null) await copyByStreams(bench, target, files);
  else await copyByPsql(bench.psql, bench.url(target), files);
  const seconds = (performance.now() - beganMs) / 1000;
  await check(bench, target, ticks);
  await bench.dropDatabase(target);
  await Promise.all(files.map((file) => rm(file)));
  return {
    ticksPerSecond: ticks / seconds,
    tool: bench.psql === null ? 'COPY by pg-copy-streams' : 'psql \\copy',
  };
}

async function exportTables(bench: Bench, database: string, files: string[]): Promise<void> {
  const client = await bench.connect(database);
  for (const [at, { name, columns }] of TABLES.entries()) {
    const stream = client.query(
      copyTo(`COPY (SELECT ${columns} FROM ${name} ORDER BY tick_number) TO STDOUT (FORMAT binary)`),
    );
    await pipeline(stream, createWriteStream(files[at]));
  }
  await client.end();
}

async function copyByPsql(psql: string, url: string, files: string[]): Promise<void> {
  const commands = TABLES.flatMap(({ name, columns }, at) => [
    '-c',
    `\\copy ${name} (${columns}) from '${files[at]}' (format binary)`,
  ]);
  await run(psql, ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '--single-transaction', ...commands, url]);
}

async function copyByStreams(bench: Bench, database: string, files: string[]): Promise<void> {
  const client = await bench.connect(database);
  await client.query('BEGIN');
  for (const [at, { name, columns }] of TABLES.entries()) {
    const stream = client.query(copyFrom(`COPY ${name} (${columns}) FROM STDIN (FORMAT binary)`));
    await pipeline(createReadStream(files[at]), stream);
  }
  await client.query('COMMIT');
  await client.end();
}

async function check(bench: Bench, database: string, ticks: number): Promise<void> {
  const client = await bench.connect(database);
  const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM vdf_proofs');
  await client.end();
  if (Number(rows[0]?.n) !== ticks)
    throw new Error(`the reference holds ${rows[0]?.n} ticks instead of ${ticks}`);
}
