import { after, test, type Test } from 'tap';
import { Client } from 'pg';
import { TickDataWriter } from '../../../../src/store/market/tick-data.ts';
import { connect, ConnectError, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { isPooled } from '../../../../src/store/postgres/pooler.ts';
import { migrate, schemaFiles } from '../../../../src/store/schema/migrate.ts';
import { noPgbouncer, startPgbouncer, type TestPgbouncer } from '../../../support/servers/pgbouncer.ts';
import { startPostgres, type TestPostgres } from '../../../support/servers/postgres.ts';

const skip = noPgbouncer();
let server: TestPostgres | null = null;
after(() => server?.stop());

interface Harness {
  /** of the server itself */
  url: string;
  transaction: TestPgbouncer;
  session: TestPgbouncer;
}

async function harnessOf(t: Test): Promise<Harness> {
  server ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
  const url = await server.createDatabase(undefined, { schema: false });
  const transaction = await startPgbouncer(url, { poolMode: 'transaction', poolSize: 4 });
  t.teardown(() => transaction.stop());
  const session = await startPgbouncer(url, { poolMode: 'session' });
  t.teardown(() => session.stop());
  return { url, transaction, session };
}

async function opened(t: Test, url: string): Promise<Client> {
  const client = await connect(parseDatabaseUrl(url), {
    applicationName: 'pooled',
    statementTimeoutMs: 20_000,
  });
  t.teardown(() => client.end().catch(() => {}));
  return client;
}

/** A connection without anything of ours. */
async function bare(t: Test, url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  t.teardown(() => client.end().catch(() => {}));
  return client;
}

function rowsOf(price: number): Parameters<TickDataWriter['write']>[0] {
  return Array.from({ length: 20 }, (_, at) => ({
    provider: 'p',
    symbol: 'SPY',
    srcTs: 1_761_314_520_000_000n + BigInt(at),
    seq: 0n,
    price,
    size: null,
    bid: null,
    ask: null,
    side: null,
  }));
}

function nameOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

async function show(client: Client, name: string): Promise<string> {
  return (await client.query<{ value: string }>('SELECT current_setting($1) AS value', [name])).rows[0].value;
}

void test(
  'a pooler is noticed, what it keeps for each client is set, and nothing else is left with it',
  { skip },
  async (t) => {
    const { url, transaction, session } = await harnessOf(t);
    t.equal(isPooled(await opened(t, url)), false);
    t.equal(isPooled(await opened(t, session.url(url))), true);
    const admin = await bare(t, url);
    await admin.query(`ALTER DATABASE ${nameOf(url)} SET timezone = 'Asia/Tokyo'`);
    const clients = await Promise.all(Array.from({ length: 6 }, () => opened(t, transaction.url(url))));
    t.ok(clients.every(isPooled));
    const pids = new Set<number>();
    const other = await bare(t, transaction.url(url));
    for (let turn = 0; turn < 20; turn += 1) {
      const client = clients[turn % clients.length];
      // while one has a server process to itself, the next one gets another
      const holder = clients[(turn + 1) % clients.length];
      await holder.query('BEGIN');
      for (const each of [holder, client]) {
        pids.add((await each.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0].pid);
        t.equal(await show(each, 'timezone'), 'UTC');
        t.equal(await show(each, 'datestyle'), 'ISO, MDY');
      }
      await holder.query('COMMIT');
      t.equal(await show(other, 'statement_timeout'), '0');
      t.equal(await show(other, 'default_transaction_isolation'), 'read committed');
    }
    t.ok(pids.size > 1, 'the server process changes');
  },
);

void test(
  'defaults that change values are refused by name where they cannot be pinned',
  { skip },
  async (t) => {
    const { url, transaction, session } = await harnessOf(t);
    const admin = await bare(t, url);
    const database = nameOf(url);
    await admin.query(`ALTER DATABASE ${database} SET extra_float_digits = 0`);
    const refusal: unknown = await opened(t, transaction.url(url)).catch((error: unknown) => error);
    t.ok(refusal instanceof ConnectError);
    t.equal((refusal as ConnectError).kind, 'database');
    t.match((refusal as ConnectError).message, /extra_float_digits = 0 \(1\).*pool_mode = session/);
    t.notMatch((refusal as ConnectError).message, /\n/);
    t.equal(
      await show(await opened(t, session.url(url)), 'extra_float_digits'),
      '1',
      'sessions can be pinned',
    );
    t.equal(await show(await opened(t, url), 'extra_float_digits'), '1');
    await admin.query(`ALTER DATABASE ${database} RESET extra_float_digits`);

    // a pooler that knows no `options`: what they ask for must be there without them
    const withSchema = new URL(transaction.url(url));
    withSchema.searchParams.set('options', '-csearch_path=chain');
    const another: unknown = await opened(t, withSchema.href).catch((error: unknown) => error);
    t.match(
      (another as ConnectError).message,
      /search_path = .*\(chain\).*pool_mode = session.*ignore_startup_parameters/,
    );
    await admin.query(`ALTER DATABASE ${database} SET search_path = chain`);
    // server processes that are there keep their defaults
    const fresh = await startPgbouncer(url, { poolMode: 'transaction' });
    t.teardown(() => fresh.stop());
    const again = new URL(fresh.url(url));
    again.searchParams.set('options', '-csearch_path=chain');
    t.equal(await show(await opened(t, again.href), 'search_path'), 'chain');
  },
);

void test('migrations through a pooler of transactions leave no lock behind', { skip }, async (t) => {
  const { url, transaction } = await harnessOf(t);
  const one = await opened(t, transaction.url(url));
  const names = (await schemaFiles()).map(({ name }) => name);
  t.same(await migrate(one), names);
  const two = await opened(t, transaction.url(url));
  t.same(await migrate(two), []);
  const [first, second] = await Promise.all([migrate(one, { again: true }), migrate(two, { again: true })]);
  t.same([first, second], [names, names], 'two at once wait for each other');
  const direct = await opened(t, url);
  t.same(await migrate(direct, { again: true }), names);
  const { rows } = await direct.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory'");
  t.same(rows, []);
});

void test('redelivered ticks are recognised whichever server process gets them', { skip }, async (t) => {
  const { url, transaction } = await harnessOf(t);
  await migrate(await opened(t, url));
  const writers = await Promise.all(
    Array.from({ length: 5 }, async () => new TickDataWriter(await opened(t, transaction.url(url)))),
  );
  t.same(await writers[0].write(rowsOf(1)), { stored: 20, known: 0, conflicts: [] });
  for (let turn = 0; turn < 4; turn += 1) {
    const results = await Promise.all(writers.map((writer) => writer.write(rowsOf(1))));
    for (const result of results) t.same(result, { stored: 0, known: 20, conflicts: [] });
  }
  t.equal((await writers[1].write(rowsOf(2))).conflicts.length, 20);
});
