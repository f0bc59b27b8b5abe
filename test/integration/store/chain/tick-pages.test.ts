import assert from 'node:assert/strict';
import type { Client } from 'pg';
import { test } from 'tap';
import { CopyRows } from '../../../../src/core/copy/rows-out.ts';
import { ByteSink } from '../../../../src/core/copy/sink.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { copyOut, CopyTooLargeError } from '../../../../src/store/postgres/copy-out.ts';
import { readExtent } from '../../../../src/store/chain/overview.ts';
import { TickPages } from '../../../../src/store/chain/tick-pages.ts';
import { PLAIN_CHUNKS } from '../../../../src/store/chunks/tick-chunks.ts';
import { testServers } from '../../../support/servers/postgres.ts';

const BYTES_MAX = 64 * 2 ** 20;
const copy = (query: string): string => `COPY (${query}) TO STDOUT (FORMAT binary)`;

function numbers(bytes: Buffer, fields: number): bigint[] {
  const rows = new CopyRows(fields);
  rows.begin(bytes);
  const all: bigint[] = [];
  while (rows.next()) all.push(rows.int64(0));
  return all.sort((a, b) => (a < b ? -1 : 1));
}

function written({ bytes, length }: ByteSink): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, length);
}

async function one(client: Client, sql: string): Promise<unknown> {
  const { rows } = await client.query<{ it: unknown }>(sql);
  return rows[0].it;
}

for (const candidate of testServers()) {
  void test(`reads pages on the ${candidate.name} server`, { skip: candidate.skip }, async (t) => {
    const server = await candidate.open();
    t.after(() => server.close());
    const url = await server.createDatabase();
    const session = (): Promise<Client> => connect(parseDatabaseUrl(url), { applicationName: 'test' });
    const client = await session();
    t.after(() => client.end());

    await t.test('several COPYs of one query, rows of all sizes, the session goes on', async () => {
      const sinks = [new ByteSink(), new ByteSink(), new ByteSink()];
      for (const rows of [0, 1, 7_000, 3]) {
        const big = `SELECT n::bigint, repeat('x', (n % 4000)::int) FROM generate_series(1, ${rows}) n`;
        const huge = `SELECT n::bigint, repeat('y', 3000000) FROM generate_series(1, 2) n`;
        const sql = ['BEGIN', copy(big), copy('SELECT 5::bigint WHERE false'), copy(huge), 'COMMIT'].join(
          ';',
        );
        await copyOut(client, sql, sinks, BYTES_MAX);
        assert.deepEqual(
          numbers(written(sinks[0]), 2),
          Array.from({ length: rows }, (_, n) => BigInt(n + 1)),
        );
        assert.deepEqual(numbers(written(sinks[1]), 1), []);
        assert.deepEqual(numbers(written(sinks[2]), 2), [1n, 2n]);
        assert.ok(written(sinks[2]).length > 6_000_000);
        assert.equal(await one(client, 'SELECT 1 AS it'), 1);
      }
    });

    await t.test(
      'an error before, within and after a COPY is the server’s, and the session goes on',
      async () => {
        const sink = new ByteSink();
        for (const sql of [
          copy('SELECT no_such_column'),
          copy('SELECT 1 / (3000 - n) FROM generate_series(1, 3000) n'),
          `${copy('SELECT 1')}; SELECT 1 / 0`,
        ]) {
          await assert.rejects(copyOut(client, sql, [sink], BYTES_MAX), { code: /^(42703|22012)$/ });
          assert.equal(await one(client, 'SELECT 1 AS it'), 1);
        }
        await assert.rejects(
          copyOut(client, copy('SELECT 1'), [sink, new ByteSink()], BYTES_MAX),
          /1 of 2 COPYs/,
        );
        assert.equal(await one(client, 'SELECT 1 AS it'), 1);
      },
    );

    await t.test('too much ends the session instead of filling the memory', async () => {
      const other = await session();
      const endless = copy("SELECT generate_series(1, 100000000), repeat('z', 1000)");
      await assert.rejects(copyOut(other, endless, [new ByteSink()], 1_000_000), CopyTooLargeError);
      await other.end();
    });

    await t.test('a session that is ended under it rejects', async () => {
      const other = await session();
      const pid = (await one(other, 'SELECT pg_backend_pid() AS it')) as number;
      const waiting = copyOut(other, copy('SELECT pg_sleep(60)'), [new ByteSink()], BYTES_MAX);
      waiting.catch(() => {});
      await client.query('SELECT pg_terminate_backend($1)', [pid]);
      await assert.rejects(waiting);
      await other.end().catch(() => {});
    });

    await t.test('the rows of a range, the proof before it, one snapshot', async () => {
      const other = await session();
      assert.deepEqual(await readExtent(other), { floor: null, position: null });
      await other.query(`
        INSERT INTO ticks SELECT n, timestamptz '2025-08-23' + n * interval '6 hours', '', NULL FROM generate_series(0, 20) n;
        INSERT INTO vdf_proofs SELECT n, '', '', '', 0 FROM generate_series(0, 20) n;
        INSERT INTO tick_transactions
          SELECT '', '', n, s, '', '', '', 0, NULL, timestamptz '2025-08-23' + n * interval '6 hours', now(), NULL, 0
            FROM generate_series(0, 20) n, generate_series(1, 2) s`);
      const pages = new TickPages(client, PLAIN_CHUNKS);
      const page = await pages.begin({ first: 5n, last: 9n }, BYTES_MAX);
      assert.deepEqual(numbers(page.ticks, 4), [5n, 6n, 7n, 8n, 9n]);
      assert.deepEqual(numbers(page.proofs, 4), [4n, 5n, 6n, 7n, 8n, 9n]);
      assert.equal(numbers(page.transactions, 12).length, 10);
      assert.ok(pages.bytes > 0);
      await other.query(
        'DELETE FROM vdf_proofs; DELETE FROM tick_transactions; DELETE FROM ticks WHERE tick_number < 15',
      );
      assert.equal(await pages.nextStored(7n), 7n, 'as it was when the page was read');
      await pages.done();
      await pages.beginEmpty();
      assert.equal(await pages.nextStored(7n), 15n);
      assert.equal(await pages.nextStored(21n), null);
      await pages.done();
      assert.deepEqual(numbers((await pages.begin({ first: 0n, last: 16n }, BYTES_MAX)).ticks, 4), [
        15n,
        16n,
      ]);
      await pages.done();
      await other.end();
    });
  });
}
