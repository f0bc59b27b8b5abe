import { pipeline } from 'node:stream/promises';
import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import {
  copyStatement,
  PROOFS,
  TICKS,
  TRANSACTIONS,
  type CopyTable,
} from '../../../../src/core/copy/tables.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import {
  convertToHypertable,
  ensureTimescale,
  listHypertables,
} from '../../../../src/store/schema/hypertables.ts';
import { migrate, schemaFiles } from '../../../../src/store/schema/migrate.ts';
import { testServers } from '../../../support/servers/postgres.ts';

// Three ticks over two days, two transactions in the second: what the server makes of these literals is the oracle.
const ticksSql = `values
  (10::bigint, '2025-08-23 23:59:59.999999+00'::timestamptz, repeat('a', 64), repeat('0', 512)),
  (11::bigint, '2025-08-24 00:00:00+00'::timestamptz, repeat('b', 64), null::text),
  (12::bigint, '2025-08-24 00:00:00.000001+00'::timestamptz, repeat('c', 64), repeat('f', 512))`;
const proofsSql = `select n::bigint, repeat('1', 64), repeat(to_hex(n), 512), '01'::text, 27::bigint
  from generate_series(10, 12) n`;
const transactionsSql = `values
  (repeat('d', 64), 'tx-1', 11::bigint, 0::bigint, '\\x00ff'::bytea, '\\x01'::bytea, '\\x02'::bytea,
   18446744073709551615::numeric(20,0), '2025-08-23 12:00:00.123456+00'::timestamptz,
   '2025-08-24 00:00:00+00'::timestamptz, '2025-08-23 12:00:01+00'::timestamptz, null::bytea, null::numeric(20,0)),
  (repeat('e', 64), null, 11, 1, '', '', '', 0, null,
   '2025-08-24 00:00:00+00', '2025-08-23 12:00:01+00', '\\x0041'::bytea, 18446744073709551615::numeric(20,0))`;

for (const server of testServers()) {
  void test(`the tables of the chain on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());

    const session = async (s: Test, options?: { schema?: boolean }): Promise<Client> => {
      const client = await connect(parseDatabaseUrl(await open.createDatabase(options)), {
        applicationName: 'chain.test',
      });
      s.teardown(() => client.end());
      return client;
    };

    await t.test(
      'the edition is told, and the three tables are hypertables where there are any',
      async (s) => {
        const client = await session(s);
        const edition = await detectEdition(client);
        s.match(edition.postgres, /^\d+\.\d+$/);
        const isTimescale = server.name === 'timescale';
        s.equal(edition.edition !== 'plain', isTimescale);
        s.equal(edition.timescale !== null, isTimescale);
        s.equal(edition.usable, true);
        const tables = await listHypertables(client, isTimescale);
        s.same(
          tables.map(({ table, column, chunk, isHypertable }) => [table, column, chunk, isHypertable]),
          [
            ['tick_transactions', 'tick_timestamp', '1 day', isTimescale],
            ['ticks', 'timestamp', '1 day', isTimescale],
            ['vdf_proofs', 'tick_number', '50000000', isTimescale],
          ],
        );
      },
    );

    await t.test(
      'binary COPY in the order of our columns, and the views and functions over it',
      async (s) => {
        const client = await session(s);
        await fill(client);
        const complete = await client.query(
          `select tick_number, "timestamp", batch_hash, substr(previous_output, 1, 2) as previous, substr(vdf_output, 1, 1) as output,
                length(vdf_input) as input, vdf_proof, vdf_iterations from v_ticks_complete order by tick_number`,
        );
        s.same(
          complete.rows,
          [
            tick(10, '2025-08-23 23:59:59.999999+00', 'a', '00', 'a'),
            tick(11, '2025-08-24 00:00:00+00', 'b', 'aa', 'b'),
            tick(12, '2025-08-24 00:00:00.000001+00', 'c', 'ff', 'c'),
          ],
          'a null previous_output is the output of the tick before, a stored one stays',
        );

        const one = await client.query('select * from get_tick_by_number(11)');
        s.same(
          one.rows.map((row) => row.batch_hash),
          ['b'.repeat(64)],
        );
        s.equal((await client.query('select * from get_tick_by_number(13)')).rowCount, 0);

        const recent = await client.query('select tick_number, transaction_count from v_recent_ticks');
        s.same(recent.rows, [
          { tick_number: '12', transaction_count: '0' },
          { tick_number: '11', transaction_count: '2' },
          { tick_number: '10', transaction_count: '0' },
        ]);

        const plain = await client.query('select * from get_transaction_by_hash($1)', ['d'.repeat(64)]);
        s.match(plain.rows, [
          {
            tx_id: 'tx-1',
            tx_id_raw: Buffer.from('tx-1'),
            batch_hash: 'b'.repeat(64),
            nonce: '18446744073709551615',
            payload: Buffer.from([0, 255]),
            timestamp: '2025-08-23 12:00:00.123456+00',
            timestamp_us: '1755950400123456',
          },
        ]);
        const odd = await client.query('select * from get_transaction_by_hash($1)', ['e'.repeat(64)]);
        s.match(odd.rows, [
          {
            tx_id: null,
            tx_id_raw: Buffer.from([0, 0x41]),
            timestamp: null,
            timestamp_us: '18446744073709551615',
            sequence_number: '1',
          },
        ]);
      },
    );

    await t.test('the database refuses a second copy of a tick, also with another time', async (s) => {
      const client = await session(s);
      await fill(client);
      await s.rejects(copy(client, PROOFS, proofsSql), { code: '23505' });
      await client.query("insert into ticks values (11, '2025-08-25', 'x', null)");
      await s.rejects(client.query("insert into vdf_proofs values (11, '', '', '', 0)"), { code: '23505' });
    });

    await t.test('plain tables with rows become hypertables later, or say why not', async (s) => {
      const client = await session(s, { schema: false });
      const notices: string[] = [];
      if (server.name === 'embedded') {
        await migrate(client, { onNotice: (text) => notices.push(text) });
        s.match(notices, [/not preloaded/]);
        s.equal(await ensureTimescale(client, (text) => notices.push(text)), false);
        s.match(notices[1], /not preloaded/);
        return;
      }
      // as on a server where the extension could not be created yet
      const [file] = await schemaFiles();
      const sql = file?.sql.replace('if schema_timescaledb() is not null then', 'if false then') ?? '';
      await migrate(client, { files: [{ name: '001_create_tables.sql', sql }] });
      await fill(client);
      s.equal(await ensureTimescale(client, () => {}), true);
      s.same(
        (await listHypertables(client, true)).map(({ isHypertable }) => isHypertable),
        [false, false, false],
      );
      // applied again, the schema leaves tables with rows alone
      await migrate(client, { again: true, onNotice: (text) => notices.push(text) });
      s.match(notices[0], /ticks holds rows and stays a plain table/);

      const tables = ['tick_transactions', 'ticks', 'vdf_proofs'];
      for (const table of tables) {
        s.same(await convertToHypertable(client, table), { table, outcome: 'converted' });
        s.same(await convertToHypertable(client, table), { table, outcome: 'present' });
      }
      const all = await listHypertables(client, true);
      s.ok(
        all.every(({ isHypertable }) => isHypertable),
        'those of later files were empty',
      );
      s.same(
        all.filter(({ table }) => tables.includes(table)).map(({ chunks }) => chunks),
        [1, 2, 1],
      );
      const { rows } = await client.query('select count(*) as n from v_ticks_complete');
      s.same(rows, [{ n: '3' }], 'the rows are still there');
    });
  });
}

async function fill(client: Client): Promise<void> {
  await client.query('begin');
  await copy(client, TICKS, ticksSql);
  await copy(client, PROOFS, proofsSql);
  await copy(client, TRANSACTIONS, transactionsSql);
  await client.query('commit');
}

/** The server writes the binary rows itself, and reads them by our statement. */
async function copy(client: Client, table: CopyTable, sql: string): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of client.query(copyTo(`copy (${sql}) to stdout (format binary)`)))
    chunks.push(chunk as Buffer);
  await pipeline(chunks, client.query(copyFrom(copyStatement(table))));
}

function tick(n: number, timestamp: string, hash: string, previous: string, output: string): object {
  return {
    tick_number: String(n),
    timestamp,
    batch_hash: hash.repeat(64),
    previous,
    output,
    input: 64,
    vdf_proof: '01',
    vdf_iterations: '27',
  };
}
