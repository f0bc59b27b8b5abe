import { test } from 'tap';
import { connect } from '../../../../src/store/postgres/connect.ts';
import { parseDatabaseUrl } from '../../../../src/store/postgres/database-url.ts';
import { startPostgres } from '../../../support/servers/postgres.ts';
import { HOSTILE_NAMES, hostileDatabase } from '../../../support/servers/hostile-settings.ts';

const DOUBLES = [33.333333333333336, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -1 / 3];

void test('database and role set everything else, and a session has our settings', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const { url, looking } = await hostileDatabase(server, { schema: false });
  t.teardown(() => looking.end());
  const open = async (more = ''): ReturnType<typeof connect> => {
    const client = await connect(parseDatabaseUrl(`${url}${more}`), { applicationName: 'test' });
    t.teardown(() => client.end());
    return client;
  };
  const client = await open();
  const { rows } = await client.query<{ name: string; value: string }>(
    'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name ORDER BY name',
    [HOSTILE_NAMES],
  );
  t.strictSame(Object.fromEntries(rows.map(({ name, value }) => [name, value])), {
    extra_float_digits: '1',
    bytea_output: 'hex',
    standard_conforming_strings: 'on',
    backslash_quote: 'safe_encoding',
    array_nulls: 'on',
    transform_null_equals: 'off',
    quote_all_identifiers: 'off',
    client_encoding: 'UTF8',
    client_min_messages: 'warning',
    'plpgsql.extra_errors': 'none',
    timezone: 'UTC',
    timezone_abbreviations: 'Default',
    datestyle: 'ISO, MDY',
    intervalstyle: 'postgres',
    search_path: '"$user", public',
    default_transaction_isolation: 'read committed',
    default_transaction_read_only: 'off',
    default_transaction_deferrable: 'off',
    synchronous_commit: 'on',
    statement_timeout: '0',
    lock_timeout: '0',
    idle_in_transaction_session_timeout: '1min',
    idle_session_timeout: '0',
    transaction_timeout: '0',
    exit_on_error: 'off',
    jit: 'off',
  });

  const values = await client.query(
    `SELECT $1::float8[] AS doubles, '2025-08-23 10:35:03.178361+02'::timestamptz AS at, '\\x00ff'::bytea AS bytes,
            interval '-1 day 2 hours' AS long, 'a\\b' AS text`,
    [DOUBLES],
  );
  t.strictSame(
    { ...(values.rows[0] as object) },
    {
      doubles: DOUBLES,
      at: '2025-08-23 08:35:03.178361+00',
      bytes: Buffer.from([0, 255]),
      long: '-1 days +02:00:00',
      text: 'a\\b',
    },
  );
  await t.rejects(client.query('SELECT 1 / 0'), { code: '22012' });
  await client.query('SELECT 1');

  // where the schema is, and how long a session waits, the URL may say; how doubles travel it may not
  const shown = async (options: string): Promise<unknown> => {
    const other = await open(`&options=${encodeURIComponent(options)}`);
    const { rows } = await other.query(
      `SELECT current_setting('search_path') AS path, current_setting('lock_timeout') AS lock,
              current_setting('transaction_timeout') AS transaction, current_setting('extra_float_digits') AS digits`,
    );
    return { ...(rows[0] as object) };
  };
  t.strictSame(await shown('-csearch_path=elsewhere -clock_timeout=1500'), {
    path: 'elsewhere',
    lock: '1500ms',
    transaction: '0',
    digits: '1',
  });
  t.strictSame(
    await shown('-c extra_float_digits=0 --search-path=elsewhere,public -ctransaction_timeout=1h'),
    { path: 'elsewhere,public', lock: '0', transaction: '1h', digits: '1' },
  );
});
