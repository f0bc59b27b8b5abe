import type { Command } from 'commander';
import type { Client } from 'pg';
import { detectEdition, type EditionInfo } from '../../store/postgres/server-info.ts';
import {
  convertToHypertable,
  ensureTimescale,
  listHypertables,
  type HypertableInfo,
} from '../../store/schema/hypertables.ts';
import { migrate, schemaStatus, type SchemaStatus } from '../../store/schema/migrate.ts';
import { readPolicies, type Policy } from '../../store/schema/policies.ts';
import { runOnDatabase } from './database.ts';
import type { Print } from './text.ts';

const APPLICATION = 'mdp db';
/** between progress lines while a table is converted, ms */
const PROGRESS_MS = 5_000;

export interface DatabaseEnvironment {
  /** DATABASE_URL */
  databaseUrl?: string | undefined;
}

interface MigrateArguments {
  to?: string;
  again?: true;
}

interface StatusArguments {
  json?: true;
  check?: true;
}

interface HypertablesArguments {
  table?: string[];
}

/** `mdp db migrate|status|hypertables`. DATABASE_URL comes only from the environment: command lines are public. */
export function registerDb(program: Command, env: DatabaseEnvironment): void {
  const db = program
    .command('db')
    .description('the schema of the database that DATABASE_URL names (postgres://… or embedded:DIR)');

  db.command('migrate')
    .description('apply the files of schema/ that this database does not have yet, each in one transaction')
    .option('--to <file>', 'stop after this file, by name or number (default: all)')
    .option('--again', 'apply recorded files too; each is safe to apply twice (default: off)')
    .addHelpText('after', example('DATABASE_URL=postgres://me@localhost/market_data mdp db migrate --to 001'))
    .action((options: MigrateArguments, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runMigrate(client, options, print),
      ),
    );

  db.command('status')
    .description(
      'show server, edition, applied and pending files, which tables are hypertables, and the policies on them',
    )
    .option('--json', 'one JSON object on stdout (default: text)')
    .option('--check', 'exit code 1 when a file is pending (default: off)')
    .addHelpText('after', example('mdp db status --json | jq .pending'))
    .action((options: StatusArguments, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runStatus(client, options, print),
      ),
    );

  db.command('hypertables')
    .description(
      'make plain tables hypertables, with the rows they hold (needs TimescaleDB). ' +
        'Each table is rewritten under an exclusive lock: stop the ingester first when they are large',
    )
    .option('--table <name...>', 'only these tables (default: every plain one)')
    .addHelpText('after', example('mdp db hypertables --table ticks vdf_proofs'))
    .action((options: HypertablesArguments, command: Command) =>
      runOnDatabase(command, env.databaseUrl, APPLICATION, (client, print) =>
        runHypertables(client, options, print),
      ),
    );
}

function example(line: string): string {
  return `\nExample:\n  $ ${line}\n\nThe database is named by the environment variable DATABASE_URL (no default).`;
}

async function runMigrate(client: Client, options: MigrateArguments, print: Print): Promise<null> {
  const applied = await migrate(client, {
    ...(options.to === undefined ? {} : { upTo: options.to }),
    again: options.again === true,
    onNotice: (text) => print(`  ${text}`),
  });
  for (const name of applied) print(`applied ${name}`);
  if (applied.length === 0) print('nothing to do: every file is applied');
  return null;
}

async function runStatus(client: Client, options: StatusArguments, print: Print): Promise<string | null> {
  const edition = await detectEdition(client);
  const schema = await schemaStatus(client);
  const hasTimescale = edition.edition !== 'plain';
  const tables = schema.applied.length > 0 ? await listHypertables(client, hasTimescale) : [];
  const policies = hasTimescale ? await readPolicies(client) : [];
  if (options.json === true) {
    const { applied, pending, unknown } = schema;
    print(JSON.stringify({ ...edition, applied, pending, unknown, hypertables: tables, policies }));
  } else {
    for (const line of describe(edition, schema, tables, policies)) print(line);
  }
  return options.check === true && schema.pending.length > 0
    ? `schema is behind (${schema.pending.join(', ')}). Run: mdp db migrate`
    : null;
}

function describe(
  edition: EditionInfo,
  schema: SchemaStatus,
  tables: readonly HypertableInfo[],
  policies: readonly Policy[],
): string[] {
  const timescale = edition.timescale === null ? 'without TimescaleDB' : `TimescaleDB ${edition.timescale}`;
  const lines = [`server   PostgreSQL ${edition.postgres}, ${timescale} (edition ${edition.edition})`];
  if (!edition.usable) {
    lines.push(
      '         the extension is not preloaded: add timescaledb to shared_preload_libraries and restart the server',
    );
  }
  lines.push(
    ...schema.applied.map((name) => `schema   ${name}  applied`),
    ...schema.pending.map((name) => `schema   ${name}  PENDING: run mdp db migrate`),
    ...schema.unknown.map((name) => `schema   ${name}  applied by a newer version of this program`),
    ...tables.map((table) => `table    ${describeTable(table, edition)}`),
    ...policies.map((policy) => `policy   ${describePolicy(policy)}`),
  );
  return lines;
}

function describeTable(table: HypertableInfo, edition: EditionInfo): string {
  if (table.isHypertable) {
    const compressed = table.compressedChunks === 0 ? '' : `, compressed: ${table.compressedChunks}`;
    return `${table.table}  hypertable by ${table.column}, ${table.chunk} a chunk, chunks: ${table.chunks}${compressed}`;
  }
  return `${table.table}  plain${edition.edition === 'plain' ? '' : ': run mdp db hypertables'}`;
}

function describePolicy(policy: Policy): string {
  const { table, jobId, kind, settings, every } = policy;
  return `${table}  ${kind} (job ${jobId}): ${settings}, every ${every}, ${describeRuns(policy)}`;
}

function describeRuns({ isScheduled, runs, failures, lastRun, error, nextStart }: Policy): string {
  if (!isScheduled) return 'PAUSED';
  const next = nextStart === null ? '' : `; next ${nextStart}`;
  if (lastRun === null)
    return `HAS NEVER RUN${next}: where that has passed, the server starts no jobs (timescaledb.max_background_workers)`;
  if (!lastRun.isFailure) return `last run ${lastRun.at}${next}`;
  return `FAILED ${lastRun.at} (${failures} of ${runs} runs): ${error ?? 'it says nothing'}${next}`;
}

async function runHypertables(
  client: Client,
  options: HypertablesArguments,
  print: Print,
): Promise<string | null> {
  if (!(await ensureTimescale(client, (text) => print(`  ${text}`)))) {
    return 'TimescaleDB cannot be used in this database: install it and add it to shared_preload_libraries';
  }
  const tables = await listHypertables(client, true);
  const unknown = (options.table ?? []).filter((name) => tables.every(({ table }) => table !== name));
  if (unknown.length > 0) {
    return `no such table: ${unknown.join(', ')}. Known: ${tables.map(({ table }) => table).join(', ')}`;
  }
  for (const table of tables) {
    if (options.table !== undefined && !options.table.includes(table.table)) continue;
    await convert(client, table, print);
  }
  return null;
}

/** The server reports no progress: these lines show that it is still working. */
async function convert(client: Client, info: HypertableInfo, print: Print): Promise<void> {
  let seconds = 0;
  const rows = info.rowsEstimated < 0 ? 'an unknown number of' : `about ${info.rowsEstimated}`;
  const timer = setInterval(() => {
    seconds += PROGRESS_MS / 1000;
    print(`${info.table}: converting ${rows} rows, ${seconds} s so far`);
  }, PROGRESS_MS);
  try {
    const { outcome } = await convertToHypertable(client, info.table);
    print(`${info.table}: ${outcome === 'converted' ? 'converted' : 'is a hypertable already'}`);
  } finally {
    clearInterval(timer);
  }
}
