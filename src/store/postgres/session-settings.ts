import { escapeLiteral, type Client } from 'pg';

/**
 * Settings that change what a session reads, writes or means. A server, a database and a role may each have defaults of their
 * own (ALTER SYSTEM, ALTER DATABASE, ALTER ROLE): with extra_float_digits = 0 every double would lose its last digits on
 * the way out. Not here: `role`, and what decides where and how fast, but not what.
 */
const PINNED: Readonly<Record<string, string>> = {
  // first: an error must not end the session
  exit_on_error: 'off',
  // text: doubles in their shortest exact form, strings and bytes as the driver writes and reads them
  client_encoding: 'UTF8',
  extra_float_digits: '1',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  backslash_quote: 'safe_encoding',
  array_nulls: 'on',
  transform_null_equals: 'off',
  quote_all_identifiers: 'off',
  lc_numeric: 'C',
  lc_monetary: 'C',
  lc_time: 'C',
  client_min_messages: 'warning',
  'plpgsql.extra_errors': 'none',
  'plpgsql.extra_warnings': 'none',
  // time
  timezone: 'UTC',
  timezone_abbreviations: 'Default',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  // transactions
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  // a vanished client is noticed within 25 s, and its locks are released
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
};
/**
 * TimescaleDB refuses a statement that decompresses more rows than this (53400): a few ticks of many symbols do so, as each
 * makes it read the thousand rows around it. What our statements write is bounded, so there is nothing to be limited. 0: none.
 */
const UNLIMITED = { 'timescaledb.max_tuples_decompressed_per_dml_transaction': '0' };
/** Not supported by every server operating system. */
const BY_SYSTEM = { tcp_user_timeout: '20000', client_connection_check_interval: '5000' };
/** As the URL says, or these, which are the server's own: which tables are ours, and how long a session may wait. */
const BY_URL = { search_path: '"$user", public', lock_timeout: '0', idle_session_timeout: '0' };
/**
 * The same, where the setting exists. PostgreSQL compiles a statement whose cost it estimates as high, which takes hundreds of
 * milliseconds; ours are many and short, and discouraging a plan (enable_seqscan = off) makes every estimate high.
 */
const BY_URL_WHERE_KNOWN = { transaction_timeout: '0', jit: 'off', ...UNLIMITED };

export interface SettingsOfSession {
  /** `options` of the URL: where the schema is named */
  serverOptions: string | null;
  statementTimeoutMs: number;
  idleInTransactionTimeoutMs: number;
}

/** Pins the settings of a new session, in one round trip. Rejects with the server's error. */
export async function pinSettings(client: Client, session: SettingsOfSession): Promise<void> {
  const required = {
    ...PINNED,
    statement_timeout: String(session.statementTimeoutMs),
    idle_in_transaction_session_timeout: String(session.idleInTransactionTimeoutMs),
  };
  const said = settingsOf(session.serverOptions);
  const others = [
    ...Object.entries(BY_URL).map(([name, value]) => setConfig(name, said.get(name) ?? value)),
    ...Object.entries(BY_URL_WHERE_KNOWN).map(
      ([name, value]) =>
        `${setConfig(name, said.get(name) ?? value)} WHERE current_setting(${escapeLiteral(name)}, true) IS NOT NULL`,
    ),
    // other values than off are an operator's choice of how many machines a commit waits for
    `${setConfig('synchronous_commit', 'on')} WHERE current_setting('synchronous_commit') = 'off'`,
  ];
  // several statements form one transaction, so a refused setting undoes the others
  try {
    await client.query([...setStatements({ ...required, ...BY_SYSTEM }), ...others].join('; '));
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith('22')) throw error;
    await client.query([...setStatements(required), ...others].join('; '));
  }
}

/** The same for one transaction, where the session cannot be set: statements to follow BEGIN. */
export const TRANSACTION_SETTINGS: readonly string[] = Object.entries(UNLIMITED).map(
  ([name, value]) =>
    `${setConfig(name, value, true)} WHERE current_setting(${escapeLiteral(name)}, true) IS NOT NULL`,
);

/** Of the pinned ones, those that a default must not differ in where none can be pinned: a default changes values then. */
const ON_VALUES = [
  'bytea_output',
  'array_nulls',
  'transform_null_equals',
  'intervalstyle',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
];

export interface ExpectedSetting {
  isRight: (value: string) => boolean;
  /** for people */
  wanted: string;
}

/** What the defaults of a session must be that cannot pin them, by name. */
export function expectedSettings({ serverOptions }: SettingsOfSession): Map<string, ExpectedSetting> {
  const searchPath = settingsOf(serverOptions).get('search_path') ?? BY_URL.search_path;
  return new Map([
    ...ON_VALUES.map((name) => [name, equals(PINNED[name])] as const),
    ['extra_float_digits', { isRight: (value) => Number(value) >= 1, wanted: '1' }],
    ['synchronous_commit', { isRight: (value) => value !== 'off', wanted: 'on' }],
    ['search_path', { isRight: (value) => bareOf(value) === bareOf(searchPath), wanted: searchPath }],
  ]);
}

function equals(wanted: string): ExpectedSetting {
  return { isRight: (value) => value.toLowerCase() === wanted.toLowerCase(), wanted };
}

/** As two ways to write one search_path are alike. */
function bareOf(searchPath: string): string {
  return searchPath.replaceAll(/[\s"]/g, '');
}

function setStatements(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([name, value]) => `SET ${name} = '${value}'`);
}

function setConfig(name: string, value: string, isLocal = false): string {
  return `SELECT pg_catalog.set_config(${escapeLiteral(name)}, ${escapeLiteral(value)}, ${isLocal})`;
}

/**
 * What `options` sets, by name. Read as the server reads it: words end at blanks, a backslash keeps the next character, the
 * last one counts.
 */
export function settingsOf(serverOptions: string | null): Map<string, string> {
  const words = [...(serverOptions ?? '').matchAll(/(?:\\.|[^\s\\])+/gs)].map(([word]) =>
    word.replaceAll(/\\(.)/gs, '$1'),
  );
  const settings = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    let setting = /^(?:-c|--)(.*)$/s.exec(words[at])?.[1];
    if (setting === '') setting = words[(at += 1)];
    const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(setting ?? '') ?? [];
    if (name !== '') settings.set(name.replaceAll('-', '_').toLowerCase(), value);
  }
  return settings;
}
