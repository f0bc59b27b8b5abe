import { after, test, type Test } from 'tap';
import type { Client } from 'pg';
import type { BusOptions } from '../../../../src/bus/bus.ts';
import { INBOX } from '../../../../src/bus/bus.ts';
import { PostgresBus } from '../../../../src/bus/postgres/bus.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { idsOf, recordsOf } from '../../../conformance/harness.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { migrateAll, misplace } from '../../../support/bus/postgres-bus.ts';
import { sharedPostgres, type SharedPostgres } from '../../../support/servers/postgres.ts';

let server: SharedPostgres | null = null;
after(() => server?.stop());

interface Harness {
  client: Client;
  /** another session */
  other: Client;
  bus: PostgresBus;
}

async function harnessOf(t: Test, partitions: Record<string, number> = {}): Promise<Harness> {
  server ??= await sharedPostgres();
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const options: BusOptions = {
    partitions,
    maxBytes: 2 ** 31,
    clientName: 'test',
    checkpoints: {
      read: async () => null,
      write: async () => {},
      starting: async () => 1,
      drop: async () => {},
    },
    env: testEnv(),
  };
  const bus = new PostgresBus({ ...options, databaseUrl: url });
  t.teardown(() => bus.close());
  const open = async (): Promise<Client> => {
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'another program' });
    t.teardown(() => client.end());
    return client;
  };
  return { client: await open(), other: await open(), bus };
}

async function publish(client: Client, text: string, topic = 't'): Promise<number> {
  const { rows } = await client.query<{ at: string }>('SELECT bus_publish($1, $2, $3) AS at', [
    topic,
    'KEY',
    text,
  ]);
  return Number(rows[0].at);
}

async function textsOf(bus: PostgresBus, topic = 't', partition = 0): Promise<string[]> {
  const records = await bus.read(topic, partition, null, 100_000);
  return records.map(({ data }) => Buffer.from(data ?? []).toString());
}

void test('a transaction that publishes one by one updates the counter of its log three times, not each time', async (t) => {
  const { client, bus } = await harnessOf(t);
  const count = 2_000;
  await client.query('BEGIN');
  for (let at = 0; at < count; at += 1) await publish(client, `${at}`);
  const { rows } = await client.query<{ updates: string }>(
    "SELECT n_tup_upd AS updates FROM pg_stat_xact_user_tables WHERE relid = 'bus_logs'::regclass",
  );
  t.ok(Number(rows[0].updates) <= 3, `${rows[0].updates} updates before the commit`);
  t.same(await textsOf(bus), [], 'nothing is visible before the commit');
  await client.query('COMMIT');
  t.same(
    await textsOf(bus),
    Array.from({ length: count }, (_, at) => `${at}`),
  );
  t.equal(await publish(client, 'next'), count);
  const { rows: logs } = await client.query('SELECT next_offset::int, is_appending FROM bus_logs');
  t.same(logs, [{ next_offset: count + 1, is_appending: false }]);
});

void test('savepoints, aborts, immediate constraints and several topics keep the numbers without a hole', async (t) => {
  const { client, other, bus } = await harnessOf(t);
  await client.query('BEGIN');
  await publish(client, 'a');
  await client.query('SAVEPOINT one');
  for (const text of ['lost 1', 'lost 2', 'lost 3']) await publish(client, text);
  await client.query('ROLLBACK TO SAVEPOINT one');
  await publish(client, 'b');
  await client.query('SAVEPOINT two');
  await publish(client, 'lost 4');
  await client.query('ROLLBACK TO SAVEPOINT two');
  await publish(client, 'u 1', 'u');
  await client.query("SELECT bus_publish_many('t', '{K,K}', '{c,d}')");
  await bus.publishWithin(client, 't', recordsOf('K', 2));
  await publish(client, 'u 2', 'u');
  await client.query('SET CONSTRAINTS ALL IMMEDIATE');
  for (const text of ['e', 'f', 'g']) await publish(client, text);
  await client.query('SET CONSTRAINTS ALL DEFERRED');
  for (const text of ['h', 'i']) await publish(client, text);
  // the log is locked: the other transaction's record comes behind
  const behind = publish(other, 'j');
  await client.query('COMMIT');
  t.equal(await behind, 11);
  await client.query('BEGIN');
  for (const text of ['lost 5', 'lost 6', 'lost 7']) await publish(client, text);
  await client.query('ROLLBACK');
  await publish(client, 'k');
  const records = recordsOf('K', 2).map(({ data }) => Buffer.from(data).toString());
  t.same(await textsOf(bus), ['a', 'b', 'c', 'd', ...records, ...'efghijk'.split('')]);
  t.same(await textsOf(bus, 'u'), ['u 1', 'u 2']);
  const positions = (await bus.read('t', 0, null, 100)).map(({ position }) => Number(position));
  t.same(
    positions,
    Array.from({ length: 13 }, (_, at) => at),
  );
});

void test('a segment that fills up within a transaction', async (t) => {
  const { client, bus } = await harnessOf(t);
  const append = (text: string): Promise<unknown> =>
    client.query(
      `SELECT bus_append('t', '{0}', '{1}', '{K}', array[null::text], '{0}'::smallint[], array[convert_to($1, 'UTF8')], 4, 67108864)`,
      [text],
    );
  await client.query('BEGIN');
  for (let at = 0; at < 11; at += 1) await append(`${at}`);
  await client.query('COMMIT');
  await append('11');
  t.same(
    await textsOf(bus),
    Array.from({ length: 12 }, (_, at) => `${at}`),
  );
  const { rows } = await client.query(
    'SELECT first_offset::int AS first, last_offset::int AS last FROM bus_segments ORDER BY 1',
  );
  t.same(rows, [
    { first: 0, last: 3 },
    { first: 4, last: 7 },
    { first: 8, last: null },
  ]);
  // trimmed while a transaction appends: by itself not at all, and by others behind it
  await client.query('BEGIN');
  for (const text of ['12', '13', '14']) await append(text);
  const { rows: own } = await client.query("SELECT bus_trim_to('t', 0, 5, 5) AS trimmed");
  t.same(own, [{ trimmed: '0' }]);
  const trimming = bus.remove('t', 0, '11');
  await client.query('COMMIT');
  t.equal(await trimming, 12);
  await append('15');
  t.equal((await textsOf(bus)).at(-1), '15');
});

void test('bus_publish_many publishes in order and returns where', async (t) => {
  const { client, bus } = await harnessOf(t);
  const { rows } = await client.query('SELECT * FROM bus_publish_many($1, $2, $3) AS at', [
    't',
    ['A', 'B', null],
    ['{"n":1}', '{"n":"\u00e9"}', 'x'],
  ]);
  t.same(rows, [{ at: '0' }, { at: '1' }, { at: '2' }]);
  t.same(await textsOf(bus), ['{"n":1}', '{"n":"\u00e9"}', 'x']);
  const records = await bus.read('t', 0, null, 10);
  t.same(
    records.map(({ key, eventId, encoding }) => ({ key, eventId, encoding })),
    ['A', 'B', null].map((key) => ({ key, eventId: null, encoding: 'json' })),
  );
  t.same((await client.query("SELECT bus_publish_many('t', '{}', '{}')")).rows, []);
  await t.rejects(client.query("SELECT bus_publish_many('t', '{A}', '{x,y}')"), { code: '22023' });
  await t.rejects(client.query("SELECT bus_publish_many('t', '{A}', array[null]::text[])"), {
    code: '23502',
  });
  t.equal(await publish(client, 'next'), 3);
});

void test('a database whose logs are numbered as partitions is brought up to date', async (t) => {
  const { client, bus } = await harnessOf(t, { wide: 3 });
  await bus.publish('narrow', recordsOf('A', 3));
  await client.query("INSERT INTO bus_topics (topic, partitions) VALUES ('wide', 3), ('narrow', 1)");
  // as an older program left it
  await misplace(client, 'wide', -1, [{ key: 'A', text: 'in 0' }]);
  await misplace(client, 'wide', 1, [{ key: 'A', text: 'in 2' }]);
  await client.query(
    `INSERT INTO bus_cursors (topic, group_name, partition, next_offset) VALUES ('wide', 'g', 0, 1), ('wide', 'g', 2, 0)`,
  );
  await client.query(
    `CREATE FUNCTION bus_publish(p_topic text, p_key text, p_json text, p_partition int DEFAULT 0) RETURNS bigint
       LANGUAGE sql AS 'SELECT 0::bigint'`,
  );
  await migrate(client, { again: true });
  await migrate(client, { again: true });
  t.same(await textsOf(bus, 'wide', 0), ['in 0']);
  t.same(await textsOf(bus, 'wide', 2), ['in 2']);
  t.same(await textsOf(bus, 'wide', INBOX), []);
  t.same(idsOf(await bus.read('narrow', 0, null, 10)), idsOf(recordsOf('A', 3)));
  const { rows } = await client.query('SELECT partition, next_offset::int FROM bus_cursors ORDER BY 1');
  t.same(rows, [
    { partition: 1, next_offset: 1 },
    { partition: 3, next_offset: 0 },
  ]);
  await publish(client, 'for the inbox', 'wide');
  t.same(await textsOf(bus, 'wide', INBOX), ['for the inbox']);
});
