import { execFile } from 'node:child_process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { test, type Test } from 'tap';
import * as fc from 'fast-check';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate, schemaFiles, schemaStatus } from '../../../../src/store/schema/migrate.ts';
import { findPsql, schemaPath, testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';

const run = promisify(execFile);

interface Position {
  origin: string | null;
  position: string | null;
  complete_up_to: string | null;
}

for (const server of testServers()) {
  void test(`the schema on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());

    const session = async (s: Test, options?: { schema?: boolean }): Promise<Client> => {
      const url = await open.createDatabase(options);
      return connectTo(s, url);
    };

    await t.test('migrating twice applies each file once and records it', async (s) => {
      const client = await session(s, { schema: false });
      const names = (await schemaFiles()).map((file) => file.name);
      const before = await schemaStatus(client);
      s.same([before.applied, before.pending, before.unknown], [[], names, []]);
      s.same(before.behindFor('ingest'), ['001_create_tables.sql']);
      s.same(await migrate(client), names);
      s.same(await migrate(client), []);
      s.same(await migrate(client, { again: true }), names);
      const after = await schemaStatus(client);
      s.same([after.applied, after.pending], [names, []]);
      s.same(after.behindFor('ingest'), []);
    });

    await t.test('two migrators at once do not collide', async (s) => {
      const url = await open.createDatabase({ schema: false });
      const [one, two] = await Promise.all([connectTo(s, url), connectTo(s, url)]);
      const applied = await Promise.all([migrate(one), migrate(two)]);
      s.same(
        applied.flat(),
        (await schemaFiles()).map((file) => file.name),
        'one of them did it all',
      );
    });

    await t.test('a file that fails leaves nothing behind and says where it failed', async (s) => {
      const client = await session(s);
      const bad = {
        name: '002_bad.sql',
        sql: 'begin;\ncreate table half (n int);\nselect nonsense;\ncommit;\n',
      };
      const files = [...(await schemaFiles()), bad];
      await s.rejects(migrate(client, { files }), {
        message: /^002_bad\.sql:3: .*nonsense.* \(42703\)$/,
        code: '42703',
      });
      const { rows } = await client.query("select to_regclass('half') as half");
      s.same(rows, [{ half: null }]);
      s.same((await schemaStatus(client, files)).pending, ['002_bad.sql']);
    });

    await t.test('upTo stops after a file; an unknown one is refused', async (s) => {
      const client = await session(s, { schema: false });
      const second = { name: '002_more.sql', sql: '-- stages: ticks\nselect 1' };
      const files = [...(await schemaFiles()).slice(0, 1), second];
      s.same(await migrate(client, { files, upTo: '1' }), ['001_create_tables.sql']);
      const status = await schemaStatus(client, files);
      s.same(status.behindFor('ingest'), [], 'judged per stage');
      s.same(status.behindFor('ticks'), ['002_more.sql']);
      await s.rejects(migrate(client, { files, upTo: '7' }), /no schema file 7/);
    });

    await t.test('a migrations table of another program is not touched', async (s) => {
      const client = await session(s, { schema: false });
      await client.query('create table schema_migrations (version text)');
      await s.rejects(migrate(client), /belongs to another program.*csearch_path/);
    });

    await t.test('a schema other than public works', async (s) => {
      const client = await session(s, { schema: false });
      await client.query('create schema tenant; set search_path = tenant');
      await migrate(client);
      await client.query('set search_path = public');
      const { rows } = await client.query<{ n: string }>(
        "select count(*) as n from pg_tables where schemaname = 'tenant' and tablename in ('ticks', 'ingest_ledger')",
      );
      s.equal(rows[0]?.n, '2');
      const position = await client.query('select * from tenant.ingest_position()');
      s.same(
        position.rows,
        [{ origin: null, position: null, complete_up_to: null }],
        'functions know their schema',
      );
      s.same((await schemaStatus(client)).applied, [], 'public has none of it');
    });

    const psql = findPsql();
    await t.test('psql applies every file twice', { skip: psql === null ? 'no psql' : false }, async (s) => {
      const url = await open.createDatabase({ schema: false });
      for (let time = 0; time < 2; time++) {
        for (const file of await schemaFiles()) {
          await run(psql ?? '', [url, '-v', 'ON_ERROR_STOP=1', '-q', '-f', schemaPath(file.name)]);
        }
      }
      const client = await connectTo(s, url);
      s.same((await schemaStatus(client)).pending, [], 'psql records it as well');
    });

    await positionTests(t, session);
    await gapTests(t, session);
    await deadLetterTests(t, session);
    await fenceTests(t, open);
  });
}

async function connectTo(s: Test, url: string): Promise<Client> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'schema.test' });
  s.teardown(() => client.end());
  return client;
}

type Session = (s: Test) => Promise<Client>;

async function begin(
  client: Client,
  epoch: number,
  first: number | null,
  last: number | null,
  fill = false,
): Promise<void> {
  await client.query('select ingest_begin_batch($1, $2, $3, 0, 0, 0, null, null, $4)', [
    epoch,
    first,
    last,
    fill,
  ]);
}

async function lead(client: Client, origin: number | null): Promise<void> {
  await client.query("insert into ingest_state (chain_id, origin, epoch) values ('c', $1, 1)", [origin]);
}

async function positionTests(t: Test, session: Session): Promise<void> {
  await t.test('nothing recorded has no position', async (s) => {
    const client = await session(s);
    s.same(await position(client), { origin: null, position: null, complete_up_to: null });
    await lead(client, 5);
    s.same(await position(client), { origin: '5', position: null, complete_up_to: null });
    await begin(client, 1, 7, 9);
    s.same(
      await position(client),
      { origin: '5', position: null, complete_up_to: null },
      'the origin itself is missing',
    );
  });

  await t.test('the position reaches to the highest number there is', async (s) => {
    const client = await session(s);
    await client.query(
      "insert into ingest_state (chain_id, origin, epoch) values ('c', 9223372036854775800, 1)",
    );
    await client.query(
      'select ingest_begin_batch(1, 9223372036854775800, 9223372036854775807, 8, 0, 0, null, null, false)',
    );
    s.equal((await position(client))?.position, '9223372036854775807');
  });

  await t.test('position and complete_up_to of any ranges in any order', async (s) => {
    const client = await session(s);
    await lead(client, 0);
    const range = fc.record({
      first: fc.integer({ min: 0, max: 40 }),
      length: fc.integer({ min: 1, max: 8 }),
      kind: fc.constantFrom('ledger', 'open', 'filled', 'skipped'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 5 }),
        fc.array(range, { maxLength: 12 }),
        async (origin, ranges) => {
          await client.query('delete from ingest_ledger; delete from ingest_gaps');
          await client.query('update ingest_state set origin = $1', [origin]);
          const covered = new Set<number>();
          const open = new Set<number>();
          for (const { first, length, kind } of ranges) {
            const last = first + length - 1;
            const insert =
              kind === 'ledger'
                ? 'insert into ingest_ledger values ($1, $2, 1, 1, 0) on conflict do nothing returning 1'
                : `insert into ingest_gaps (first_tick, last_tick, state) values ($1, $2, '${kind}') returning 1`;
            if ((await client.query(insert, [first, last])).rowCount === 0) continue;
            for (let tick = first; tick <= last; tick++) {
              covered.add(tick);
              if (kind === 'open') open.add(first);
            }
          }
          let end = origin - 1;
          while (covered.has(end + 1)) end += 1;
          const reached = end < origin ? null : end;
          const openRanges = ranges.filter(
            ({ first, length, kind }) => kind === 'open' && first + length - 1 >= origin,
          );
          const lowest = Math.min(...openRanges.map(({ first }) => first - 1));
          const complete = reached === null ? Infinity : Math.min(reached, lowest);
          const expected = {
            origin: String(origin),
            position: reached === null ? null : String(reached),
            complete_up_to: Number.isFinite(complete) ? String(complete) : null,
          };
          const actual = await position(client);
          if (JSON.stringify(actual) !== JSON.stringify(expected)) {
            throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
          }
        },
      ),
      { numRuns: 150, seed: 11 },
    );
    s.pass('150 ledgers');
  });
}

async function position(client: Client): Promise<Position | undefined> {
  return (await client.query<Position>('select * from ingest_position()')).rows[0];
}

async function gaps(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ gap: string }>(
    `select first_tick || '-' || last_tick || ' ' || state as gap from ingest_gaps order by first_tick`,
  );
  return rows.map((row) => row.gap);
}

async function gapTests(t: Test, session: Session): Promise<void> {
  await t.test('a hole is recorded with the batch beyond it and cut by what fills it', async (s) => {
    const client = await session(s);
    await lead(client, 0);
    await begin(client, 1, 0, 9);
    await client.query('select ingest_begin_batch(1, 20, 29, 10, 0, 0, 10, 19, false)');
    s.same(await gaps(client), ['10-19 open']);
    s.same(await position(client), { origin: '0', position: '29', complete_up_to: '9' });

    await client.query("update ingest_gaps set attempts = 3, last_error = 'not found'");
    await begin(client, 1, 13, 14, true);
    s.same(await gaps(client), ['10-12 open', '13-14 filled', '15-19 open']);
    s.same(await position(client), { origin: '0', position: '29', complete_up_to: '9' });
    const rest = await client.query(
      "select distinct attempts, last_error from ingest_gaps where state = 'open'",
    );
    s.same(rest.rows, [{ attempts: 3, last_error: 'not found' }], 'the rest keeps its history');

    await begin(client, 1, 10, 12, true);
    s.equal((await position(client))?.complete_up_to, '14');
    await begin(client, 1, 15, 19, true);
    s.same(await gaps(client), ['10-19 filled'], 'parts that touch are one row');
    s.same(await position(client), { origin: '0', position: '29', complete_up_to: '29' });
  });

  await t.test('one batch may cover parts of several gaps', async (s) => {
    const client = await session(s);
    await lead(client, 0);
    await client.query('insert into ingest_gaps (first_tick, last_tick) values (5, 8), (11, 14), (30, 31)');
    await begin(client, 1, 7, 12, true);
    s.same(await gaps(client), ['5-6 open', '7-8 filled', '11-12 filled', '13-14 open', '30-31 open']);
  });

  await t.test('a batch that does not fill leaves gaps alone', async (s) => {
    const client = await session(s);
    await lead(client, 0);
    await client.query('insert into ingest_gaps (first_tick, last_tick) values (5, 8)');
    await begin(client, 1, 5, 8, false);
    s.same(await gaps(client), ['5-8 open']);
  });
}

async function deadLetterTests(t: Test, session: Session): Promise<void> {
  await t.test(
    'a dead letter is kept once, by its number or the number before it and its bytes',
    async (s) => {
      const client = await session(s);
      const add = (tick: string | null, after: string | null, raw: string): Promise<unknown> =>
        client.query("select ingest_dead_letter($1, $2, 'undecodable', 'why', '22000', $3, 1)", [
          tick,
          after,
          Buffer.from(raw),
        ]);
      await add(null, '7', 'frame');
      await add(null, '7', 'frame');
      await add(null, '8', 'frame');
      await add(null, '7', 'other');
      await add('18446744073709551615', null, 'frame');
      await add('18446744073709551615', null, 'frame');
      const { rows } = await client.query(
        `select tick_number, after_tick, raw, status, raw_sha256 = sha256(raw) as digest
         from dead_letters order by dead_letter_id`,
      );
      s.same(rows, [
        letter(null, '7', 'frame'),
        letter(null, '8', 'frame'),
        letter(null, '7', 'other'),
        letter('18446744073709551615', null, 'frame'),
      ]);
    },
  );
}

function letter(tick: string | null, after: string | null, raw: string): object {
  return { tick_number: tick, after_tick: after, raw: Buffer.from(raw), status: 'open', digest: true };
}

async function fenceTests(t: Test, open: OpenTestServer): Promise<void> {
  await t.test(
    'a writer that was replaced commits nothing, and its successor waits for what it had begun',
    async (s) => {
      const url = await open.createDatabase();
      const [old, next] = await Promise.all([connectTo(s, url), connectTo(s, url)]);
      await lead(old, 0);
      await old.query('begin');
      await begin(old, 1, 0, 9);

      // the takeover waits for the batch that holds the fence: only a lock timeout ends it
      await next.query("begin; set local lock_timeout = '100ms'");
      await s.rejects(next.query('select pg_advisory_xact_lock(ingest_fence_key(), 1)'), { code: '55P03' });
      await next.query('rollback');
      await old.query('commit');

      await next.query('begin');
      await next.query('select pg_advisory_xact_lock(ingest_fence_key(), 1)');
      await next.query('update ingest_state set epoch = 2');
      await old.query('begin');
      const late = begin(old, 1, 10, 19).then(
        () => null,
        (error: { code?: string; message: string }) => error,
      );
      // the old writer waits for the lock since before the takeover commits
      while (
        (
          await next.query(
            `select from pg_locks where not granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
          )
        ).rowCount === 0
      )
        await nextTurn();
      await next.query('commit');
      s.match(await late, { code: 'MDF01', message: 'this writer was replaced: epoch 1, now 2' });
      await old.query('rollback');

      await begin(next, 2, 10, 19);
      const { rows } = await next.query('select first_tick, epoch from ingest_ledger order by first_tick');
      s.same(rows, [
        { first_tick: '0', epoch: '1' },
        { first_tick: '10', epoch: '2' },
      ]);
    },
  );

  await t.test('the fence wants READ COMMITTED, an epoch, and each range once', async (s) => {
    const client = await connectTo(s, await open.createDatabase());
    await s.rejects(begin(client, 1, 0, 9), { code: 'MDF01' }, 'no state at all');
    await lead(client, 0);
    await client.query('begin isolation level repeatable read');
    await s.rejects(begin(client, 1, 0, 9), { code: '25000' });
    await client.query('rollback');
    await begin(client, 1, null, null);
    s.equal((await position(client))?.position, null, 'a batch without numbers is only fenced');
    await begin(client, 1, 0, 9);
    await s.rejects(begin(client, 1, 0, 9), { code: '23505' });
  });

  await t.test('two schemas of one database have fences of their own', async (s) => {
    const client = await connectTo(s, await open.createDatabase());
    await client.query('create schema tenant; set search_path = tenant');
    await migrate(client);
    const { rows } = await client.query<{ differ: boolean; is_oid: boolean }>(
      `select tenant.ingest_fence_key() <> public.ingest_fence_key() as differ,
              (public.ingest_fence_key()::bit(32)::bigint)::oid = 'public.ingest_ledger'::regclass::oid as is_oid`,
    );
    s.same(rows, [{ differ: true, is_oid: true }]);
  });
}
