import { test } from 'tap';
import { Client } from 'pg';
import type { TickDataRow } from '../../../../src/core/copy/tick-data.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import { convertToHypertable, listHypertables } from '../../../../src/store/schema/hypertables.ts';
import { migrate, schemaFiles } from '../../../../src/store/schema/migrate.ts';
import { TickDataWriter } from '../../../../src/store/market/tick-data.ts';
import { seededRandom } from '../../../support/random.ts';
import { testServers } from '../../../support/servers/postgres.ts';

const AT = 1_755_945_303_178_360n;

function row(overrides: Partial<TickDataRow> = {}): TickDataRow {
  return {
    provider: 'ibkr',
    symbol: 'NVDA',
    srcTs: AT,
    seq: 0n,
    price: 123.45,
    size: 100,
    bid: 123.4,
    ask: 123.5,
    side: 1,
    ...overrides,
  };
}

for (const server of testServers()) {
  void test(`market ticks on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const open = async (): Promise<{ client: Client; writer: TickDataWriter }> => {
      const url = await opened.createDatabase();
      const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
      await migrate(client);
      return { client, writer: new TickDataWriter(client) };
    };

    await t.test('a row holds every column exactly', async (t) => {
      const { client, writer } = await open();
      const rows = [
        row(),
        row({ seq: 2n ** 63n - 1n, price: -0.1, size: null, bid: null, ask: null, side: null }),
        row({
          symbol: '!{}~',
          provider: 'x'.repeat(64),
          srcTs: 946_684_800_000_000n,
          price: 5e-324,
          side: -1,
        }),
        row({ srcTs: 4_102_444_799_999_999n, price: 1.7976931348623157e308 }),
      ];
      // what a feed may name its instruments, each stored as it is: only a-z have upper case here
      const names = ['SPX   141122P00019500', '币安人生USDT', 'äß🐸', 'Ä'.repeat(64), 'X'.repeat(128)];
      const named = names.map((symbol, at) => row({ symbol, provider: 'names', seq: BigInt(at) }));
      t.strictSame(await writer.write(named), { stored: names.length, known: 0, conflicts: [] });
      t.strictSame(await writer.write(named), { stored: 0, known: names.length, conflicts: [] });
      const differing = named.map((each) => ({ ...each, price: 5 }));
      t.strictSame(await writer.write(differing), {
        stored: 0,
        known: 0,
        conflicts: names.map((_, at) => at),
      });
      t.strictSame(
        (await client.query("SELECT symbol FROM tick_data WHERE provider = 'names' ORDER BY seq")).rows,
        names.map((symbol) => ({ symbol })),
      );
      await client.query("DELETE FROM tick_data WHERE provider = 'names'");
      t.strictSame(await writer.write(rows), { stored: 4, known: 0, conflicts: [] });
      const stored = await client.query({
        text: `SELECT provider, symbol, (extract(epoch FROM ts) * 1000000)::bigint AS micros, seq, price, size, bid, ask, side, tx::text
                 FROM tick_data ORDER BY ts, seq`,
      });
      const expected = [rows[2], rows[0], rows[1], rows[3]].map(({ srcTs, seq, ...rest }) => ({
        ...rest,
        micros: srcTs.toString(),
        seq: seq.toString(),
      }));
      t.strictSame(
        stored.rows.map(({ tx, ...rest }: Record<string, unknown>) => {
          t.match(String(tx), /^\d+$/);
          return rest;
        }),
        expected,
      );
      await client.end();
    });

    await t.test('sent again, nothing is doubled; another content is named and not stored', async (t) => {
      const { client, writer } = await open();
      const rows = Array.from({ length: 1000 }, (_, seq) =>
        row({ seq: BigInt(seq), price: 100 + seq / 100 }),
      );
      t.strictSame(await writer.write(rows), { stored: 1000, known: 0, conflicts: [] });
      t.strictSame(await writer.write(rows), { stored: 0, known: 1000, conflicts: [] });
      const mixed = [
        row({ seq: 5n, price: 100.05 }),
        row({ seq: 6n, price: 999 }),
        row({ seq: 2000n }),
        row({ seq: 2000n, size: null }),
        row({ seq: 2000n }),
        row({ seq: 7n, price: 100.07, side: null }),
      ];
      t.strictSame(await writer.write(mixed), { stored: 1, known: 2, conflicts: [1, 3, 5] });
      // whatever comes first in a batch, the table decides
      const other = row({ seq: 6n, price: 999 });
      const third = row({ seq: 6n, price: 998 });
      t.strictSame(await writer.write([other, rows[6], third, other, rows[6], third, row({ seq: 2001n })]), {
        stored: 1,
        known: 2,
        conflicts: [0, 2, 3, 5],
      });
      const { rows: found } = await client.query(
        'SELECT count(*) AS n, sum(price) AS total FROM tick_data WHERE seq < 1000',
      );
      t.equal(found[0].n, '1000');
      t.ok(Math.abs(found[0].total - rows.reduce((sum, { price }) => sum + price, 0)) < 1e-6);
      await client.end();
    });

    await t.test('two sessions that write the same rows at once, in any order', async (t) => {
      const url = await opened.createDatabase();
      const clients = await Promise.all(
        [1, 2].map((n) => connect(parseDatabaseUrl(url), { applicationName: `test ${n}` })),
      );
      await migrate(clients[0]);
      const random = seededRandom();
      t.comment(`SEED=${random.seed}`);
      const rows = Array.from({ length: 5000 }, (_, seq) => row({ seq: BigInt(seq) }));
      const results = await Promise.all(
        clients.map(async (client) => {
          const writer = new TickDataWriter(client);
          const shuffled = rows.map((r) => ({ r, at: random.next() })).sort((a, b) => a.at - b.at);
          let stored = 0;
          for (let at = 0; at < shuffled.length; at += 100) {
            const batch = shuffled.slice(at, at + 100).map(({ r }) => r);
            // two direct COPYs in different orders may deadlock: the one that is ended is sent again
            for (;;) {
              try {
                stored += (await writer.write(batch)).stored;
                break;
              } catch (error) {
                if ((error as { code?: string }).code !== '40P01') throw error;
              }
            }
          }
          return stored;
        }),
      );
      t.equal(results[0] + results[1], 5000);
      const { rows: found } = await clients[0].query('SELECT count(*) AS n FROM tick_data');
      t.equal(found[0].n, '5000');
      await Promise.all(clients.map((client) => client.end()));
    });

    await t.test(
      'it is a hypertable of days where the server can, and compressed after a week where the edition can',
      async (t) => {
        const { client } = await open();
        const { edition, usable } = await detectEdition(client);
        if (edition === 'plain' || !usable) {
          t.strictSame(await policies(client, false), []);
          await client.end();
          return;
        }
        t.equal(
          (await listHypertables(client, true)).find(({ table }) => table === 'tick_data')?.chunk,
          '1 day',
        );
        const compressed = edition === 'community' ? ['7 days'] : [];
        t.strictSame(await policies(client, true), compressed);
        // a plain table with rows in it, converted later, ends the same way
        await client.query('DROP TABLE tick_data CASCADE');
        await client.query("DELETE FROM schema_migrations WHERE name = '004_market_data.sql'");
        const files = await schemaFiles();
        const market = files.filter(({ name }) => name.startsWith('004'));
        await client.query('ALTER FUNCTION schema_timescaledb() RENAME TO schema_timescaledb_away');
        await client.query(
          "CREATE FUNCTION schema_timescaledb() RETURNS name LANGUAGE sql AS 'SELECT NULL::name'",
        );
        await migrate(client, { files: market });
        await client.query('DROP FUNCTION schema_timescaledb()');
        await client.query('ALTER FUNCTION schema_timescaledb_away() RENAME TO schema_timescaledb');
        await new TickDataWriter(client).write([row()]);
        t.strictSame(await policies(client, true), []);
        t.equal((await convertToHypertable(client, 'tick_data')).outcome, 'converted');
        t.strictSame(await policies(client, true), compressed);
        await client.end();
      },
    );

    await t.test('an older table, whose symbols had 64 bytes, is brought up to date', async (t) => {
      const { client, writer } = await open();
      await client.query('ALTER TABLE tick_data DROP CONSTRAINT tick_data_symbol_check');
      await client.query(`ALTER TABLE tick_data ADD CONSTRAINT tick_data_symbol_check
        CHECK (symbol = upper(symbol) and octet_length(symbol) between 1 and 64)`);
      const long = row({ symbol: 'X'.repeat(128) });
      await writer.write([row()]);
      await t.rejects(writer.write([long]), { code: '23514' });
      for (let time = 0; time < 2; time += 1) await migrate(client, { again: true });
      t.strictSame(await writer.write([long, row()]), { stored: 1, known: 1, conflicts: [] });
      await t.rejects(writer.write([row({ symbol: 'X'.repeat(129) })]), { code: '23514' });
      await t.rejects(writer.write([row({ symbol: 'nvda' })]), { code: '23514' });
      await client.end();
    });

    await t.test('what the table refuses leaves nothing behind, and the session goes on', async (t) => {
      const { client, writer } = await open();
      for (const bad of [
        row({ price: NaN }),
        row({ price: Infinity }),
        row({ size: -1 }),
        row({ bid: -Infinity }),
        row({ symbol: 'nvda' }),
        row({ symbol: 'Xx' }),
        row({ symbol: 'X'.repeat(129) }),
        row({ symbol: 'Ä'.repeat(65) }),
        row({ symbol: '' }),
        row({ seq: -1n }),
      ]) {
        await t.rejects(writer.write([row({ seq: 1n }), bad]), { code: '23514' });
      }
      t.strictSame(await writer.write([row({ seq: 1n })]), { stored: 1, known: 0, conflicts: [] });
      await client.end();
    });
  });
}

/** After how long chunks of tick_data are compressed. */
async function policies(client: Client, isTimescale: boolean): Promise<unknown[]> {
  if (!isTimescale) return [];
  const { rows } = await client.query<{ after: string }>(
    `SELECT config->>'compress_after' AS after FROM timescaledb_information.jobs
      WHERE proc_name = 'policy_compression' AND hypertable_name = 'tick_data'`,
  );
  return rows.map(({ after }) => after);
}
