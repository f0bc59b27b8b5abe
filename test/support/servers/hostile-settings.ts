import { Client, escapeIdentifier, escapeLiteral } from 'pg';
import type { TestPostgres } from './postgres.ts';

/** Of each setting that touches text, time, order or meaning: what ALTER DATABASE and what ALTER ROLE give it. */
const HOSTILE: Readonly<Record<string, readonly [database: string, role: string]>> = {
  extra_float_digits: ['0', '-15'],
  bytea_output: ['escape', 'escape'],
  standard_conforming_strings: ['off', 'off'],
  backslash_quote: ['off', 'on'],
  array_nulls: ['off', 'off'],
  transform_null_equals: ['on', 'on'],
  quote_all_identifiers: ['on', 'on'],
  client_encoding: ['LATIN1', 'SQL_ASCII'],
  client_min_messages: ['debug1', 'log'],
  'plpgsql.extra_errors': ['all', 'all'],
  timezone: ['America/New_York', 'Asia/Kathmandu'],
  timezone_abbreviations: ['Australia', 'India'],
  datestyle: ['German, DMY', 'SQL, DMY'],
  intervalstyle: ['sql_standard', 'iso_8601'],
  search_path: ['nowhere', 'elsewhere'],
  default_transaction_isolation: ['serializable', 'repeatable read'],
  default_transaction_read_only: ['on', 'on'],
  default_transaction_deferrable: ['on', 'on'],
  synchronous_commit: ['off', 'off'],
  statement_timeout: ['400ms', '500ms'],
  lock_timeout: ['200ms', '300ms'],
  idle_in_transaction_session_timeout: ['200ms', '300ms'],
  idle_session_timeout: ['200ms', '300ms'],
  transaction_timeout: ['400ms', '500ms'],
  exit_on_error: ['on', 'on'],
  jit: ['on', 'on'],
};

export const HOSTILE_NAMES = Object.keys(HOSTILE);

/** An empty database and a role whose settings are all others than the server's. Returns its URL; `looking` has none of them. */
export async function hostileDatabase(
  server: TestPostgres,
  options: { schema?: boolean } = {},
): Promise<{ url: string; looking: Client }> {
  const plain = await server.createDatabase(undefined, options);
  const url = new URL(plain);
  const database = escapeIdentifier(url.pathname.slice(1));
  const role = escapeIdentifier('hostile');
  const looking = new Client({ connectionString: plain });
  looking.on('error', () => {});
  await looking.connect();
  await looking.query('SET extra_float_digits = 3; CREATE SCHEMA IF NOT EXISTS elsewhere');
  await looking.query(`DROP ROLE IF EXISTS ${role}; CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD 'secret'`);
  for (const [name, [ofDatabase, ofRole]] of Object.entries(HOSTILE)) {
    const { rowCount } = await looking.query('SELECT FROM pg_settings WHERE name = $1', [name]);
    if (rowCount === 0 && !name.includes('.')) continue; // of a later version
    await looking.query(`ALTER DATABASE ${database} SET ${name} TO ${literal(name, ofDatabase)}`);
    await looking.query(`ALTER ROLE ${role} SET ${name} TO ${literal(name, ofRole)}`);
  }
  url.username = 'hostile';
  url.password = 'secret';
  return { url: url.href, looking };
}

/** A list of two is no string. */
function literal(name: string, value: string): string {
  return name === 'datestyle' ? value : escapeLiteral(value);
}
