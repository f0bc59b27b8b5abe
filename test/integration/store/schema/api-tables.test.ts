import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate, schemaFiles } from '../../../../src/store/schema/migrate.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';

const TICK =
  'INSERT INTO md_ticks (symbol, ts, price, volume, source, seq) VALUES ($1, $2, $3, $4, $5, $6) RETURNING price::text, volume::text';
const RANGE = `INSERT INTO md_ranges (symbol, "window", agg) VALUES ($1, $2, $3)`;
const AGG = '{"open":1,"high":2,"low":0.5,"close":1.5,"volume":10,"count":4}';
const NOON = '2025-10-31 10:00:00+00';

for (const server of testServers()) {
  void test(`tables of the API on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    await t.test('md_ticks', async (t) => mdTicks(t, await filled(t, opened)));
    await t.test('the queries that the key serves', async (t) => queries(t, await filled(t, opened)));
    await t.test('md_ranges', async (t) => mdRanges(t, await filled(t, opened)));
    await t.test('api_tokens', async (t) => apiTokens(t, await filled(t, opened)));
    await t.test('applied twice', async (t) => twice(t, await filled(t, opened)));
    await t.test('in a schema of its own', async (t) => ownSchema(t, opened));
    await t.test('by roles that may do less', async (t) => lesserRoles(t, opened));
  });
}

async function open(t: Test, url: string): Promise<Client> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.teardown(() => client.end());
  return client;
}

async function filled(t: Test, opened: OpenTestServer): Promise<Client> {
  const client = await open(t, await opened.createDatabase());
  await migrate(client);
  return client;
}

function refused(t: Test, query: Promise<unknown>, code: string, constraint: string): Promise<unknown> {
  return t.rejects(query, { code, constraint: constraint === '' ? undefined : constraint }, constraint);
}

async function mdTicks(t: Test, client: Client): Promise<void> {
  const row = ['BTCUSDT', NOON, '0.10', '1', 'feeder', 0];
  const insert = (changes: Record<number, unknown>): Promise<unknown> =>
    client.query(
      TICK,
      row.map((value, index) => (index in changes ? changes[index] : value)),
    );
  const digits = '1234567890123456789.0123456789012345678';
  const { rows } = await client.query<{ price: string }>(TICK, ['BTCUSDT', NOON, digits, '0', 'feeder', 0]);
  t.equal(rows[0].price, digits, 'every digit is kept');
  // TimescaleDB names the constraint of the chunk
  await t.rejects(insert({}), { code: '23505' }, 'the same key again');
  await t.resolves(insert({ 5: 1 }), 'another seq');
  await t.resolves(insert({ 4: 'other' }), 'another source');
  for (const price of ['NaN', 'Infinity', '-Infinity'])
    await refused(t, insert({ 2: price }), '23514', 'md_ticks_price_check');
  for (const volume of ['NaN', 'Infinity', '-0.1'])
    await refused(t, insert({ 3: volume }), '23514', 'md_ticks_volume_check');
  for (const symbol of ['btcusdt', '', 'A'.repeat(129)])
    await refused(t, insert({ 0: symbol }), '23514', 'md_ticks_symbol_check');
  await refused(t, insert({ 4: 'x'.repeat(65) }), '23514', 'md_ticks_source_check');
  await refused(t, insert({ 5: -1 }), '23514', 'md_ticks_seq_check');
  const written = await client.query<{ tx: boolean }>(
    'SELECT bool_and(tx::text::bigint > 0 AND created_at <= now()) AS tx FROM md_ticks',
  );
  t.ok(written.rows[0].tx, 'who wrote it, and when');
}

async function queries(t: Test, client: Client): Promise<void> {
  await client.query(
    `INSERT INTO md_ticks (symbol, ts, price, volume, source)
     SELECT 'S' || n % 20, timestamptz '${NOON}' + n * interval '1 second', n, 1, 'feeder' FROM generate_series(1, 20000) n`,
  );
  await client.query('ANALYZE md_ticks');
  // of rows that lie far apart the planner rather sorts what a bitmap finds: what counts is that the key has their order
  await client.query('SET enable_bitmapscan = off; SET enable_seqscan = off');
  const plan = async (sql: string): Promise<string> => {
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN (COSTS OFF) ${sql}`);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  };
  const latest = await plan(`SELECT * FROM md_ticks WHERE symbol = 'S1' ORDER BY ts DESC LIMIT 1`);
  const recent = await plan(`SELECT * FROM md_ticks WHERE symbol = 'S1' ORDER BY ts DESC LIMIT 1000`);
  const range = await plan(
    `SELECT * FROM md_ticks WHERE symbol = 'S1' AND ts BETWEEN '2025-10-31 10:10Z' AND '2025-10-31 10:20Z' ORDER BY ts`,
  );
  for (const [name, text] of Object.entries({ latest, recent, range })) {
    t.match(text, /md_ticks_pkey/, `${name} goes by the key`);
    t.notMatch(text, /Sort/, `${name} needs no sort`);
  }
}

async function mdRanges(t: Test, client: Client): Promise<void> {
  const range = (symbol: string, window: string, agg = AGG): Promise<unknown> =>
    client.query(RANGE, [symbol, window, agg]);
  await range('BTC', `[${NOON},2025-10-31 10:01:00+00)`);
  await range('BTC', '[2025-10-31 10:01:00+00,2025-10-31 10:02:00+00)');
  await range('ETH', `[${NOON},2025-10-31 10:01:00+00)`);
  await refused(
    t,
    range('BTC', '[2025-10-31 10:00:30+00,2025-10-31 10:00:40+00)'),
    '23P01',
    'md_ranges_symbol_window_gist',
  );
  await refused(t, range('SOL', 'empty'), '23514', 'md_ranges_window_check');
  await refused(
    t,
    range('SOL', `[${NOON},2025-10-31 10:01:00+00)`, '{"open":1}'),
    '23514',
    'md_ranges_agg_check',
  );
  await refused(t, range('btc', `[${NOON},2025-10-31 10:01:00+00)`), '23514', 'md_ranges_symbol_check');

  const { rows } = await client.query<{ agg: unknown }>(
    `SELECT agg FROM md_ranges WHERE symbol = 'BTC' AND "window" @> timestamptz '2025-10-31 10:00:00Z'`,
  );
  t.strictSame(rows, [{ agg: JSON.parse(AGG) }], 'what covers a time');
  await client.query('SET enable_seqscan = off');
  await client.query('SET enable_bitmapscan = off');
  await client.query(`INSERT INTO md_ranges SELECT 'BTC', tstzrange(m, m + interval '1 minute'), '${AGG}'
    FROM generate_series(timestamptz '2025-11-01 00:00Z', '2025-11-01 23:59Z', interval '1 minute') m`);
  await client.query('ANALYZE md_ranges');
  const explained = await client.query<{ 'QUERY PLAN': string }>(
    `EXPLAIN (COSTS OFF) SELECT agg FROM md_ranges WHERE symbol = 'BTC' AND "window" @> timestamptz '2025-11-01 10:00:00Z'`,
  );
  t.match(explained.rows.map((row) => row['QUERY PLAN']).join('\n'), /md_ranges_symbol_window_gist/);
}

async function apiTokens(t: Test, client: Client): Promise<void> {
  const insert = (name: string, hash: Buffer, scopes: unknown): Promise<unknown> =>
    client.query('INSERT INTO api_tokens (name, hash, scopes) VALUES ($1, $2, $3)', [name, hash, scopes]);
  const hash = Buffer.alloc(32, 1);
  await insert('feeder', hash, ['ingest', 'read']);
  await insert('feeder', Buffer.alloc(32, 2), ['ingest']);
  await refused(t, insert('again', hash, ['read']), '23505', 'api_tokens_hash_key');
  await refused(t, insert('short', Buffer.alloc(31), ['read']), '23514', 'api_tokens_hash_check');
  for (const scopes of [[], ['root'], ['read', null]])
    await refused(t, insert('scopes', Buffer.alloc(32, 3), scopes), '23514', 'api_tokens_scopes_check');
  await refused(t, insert('', Buffer.alloc(32, 3), ['read']), '23514', 'api_tokens_name_check');
}

async function twice(t: Test, client: Client): Promise<void> {
  await client.query(TICK, ['BTC', NOON, '1', '1', 'feeder', 0]);
  await client.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:01:00+00)`, AGG]);
  await migrate(client, { again: true });
  const { rows } = await client.query<{ ticks: string; ranges: string }>(
    'SELECT (SELECT count(*) FROM md_ticks) AS ticks, (SELECT count(*) FROM md_ranges) AS ranges',
  );
  t.strictSame(rows, [{ ticks: '1', ranges: '1' }]);
}

async function ownSchema(t: Test, opened: OpenTestServer): Promise<void> {
  const client = await open(t, await opened.createDatabase({ schema: false }));
  await client.query('CREATE SCHEMA chain');
  await client.query('SET search_path = chain');
  await migrate(client);
  await client.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:01:00+00)`, AGG]);
  await refused(
    t,
    client.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:02:00+00)`, AGG]),
    '23P01',
    'md_ranges_symbol_window_gist',
  );
  await client.query('DROP SCHEMA chain CASCADE');
  const { rows } = await client.query("SELECT FROM pg_extension WHERE extname = 'btree_gist'");
  t.equal(rows.length, 1, 'the extension belongs to the database');
}

/** Roles belong to the server, on which others work: a name of their own. */
async function lesserRoles(t: Test, opened: OpenTestServer): Promise<void> {
  const role = `tick_role_${process.pid}`;
  const owner = await open(t, await opened.createDatabase({ schema: false }));
  const files = (await schemaFiles()).filter(({ name }) => !name.startsWith('011'));
  await migrate(owner, { files });
  const { database } = owner;
  await owner.query(`CREATE ROLE ${role}`);
  await owner.query(`GRANT CREATE, USAGE ON SCHEMA public TO ${role}`);
  await owner.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`);
  try {
    const notices: string[] = [];
    await owner.query(`SET ROLE ${role}`);
    await migrate(owner, { onNotice: (text) => notices.push(text) });
    const told = notices.filter((text) => text.includes('btree_gist'));
    t.equal(told.length, 1, 'a role that may not create the extension is told');
    t.match(told[0], /create extension btree_gist/);
    await owner.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:01:00+00)`, AGG]);
    await refused(
      t,
      owner.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:01:00+00)`, AGG]),
      '23505',
      'md_ranges_pkey',
    );

    await owner.query('RESET ROLE');
    await owner.query(`GRANT CREATE ON DATABASE "${database ?? ''}" TO ${role}`);
    await owner.query(`SET ROLE ${role}`);
    await migrate(owner, {
      files: (await schemaFiles()).filter(({ name }) => name.startsWith('011')),
      again: true,
    });
    await refused(
      t,
      owner.query(RANGE, ['BTC', `[${NOON},2025-10-31 10:02:00+00)`, AGG]),
      '23P01',
      'md_ranges_symbol_window_gist',
    );
  } finally {
    await owner.query('RESET ROLE');
    await owner.query(`REVOKE ALL ON DATABASE "${database ?? ''}" FROM ${role}`);
    await owner.query(`DROP OWNED BY ${role} CASCADE`);
    await owner.query(`DROP ROLE ${role}`);
  }
}
