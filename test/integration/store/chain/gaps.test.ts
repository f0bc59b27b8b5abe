import { test, type Test } from 'tap';
import * as fc from 'fast-check';
import type { Client } from 'pg';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { recordFilling } from '../../../../src/store/chain/gaps.ts';
import { readLedger, recordSkipped } from '../../../../src/store/chain/ledger.ts';
import { testServers } from '../../../support/servers/postgres.ts';

const range = (first: number, last: number): { first: bigint; last: bigint } => ({
  first: BigInt(first),
  last: BigInt(last),
});

async function gaps(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ gap: string }>(
    `select first_tick || '-' || last_tick || ' ' || state as gap from ingest_gaps order by first_tick`,
  );
  return rows.map((row) => row.gap);
}

const fill = (client: Client, first: number, last: number): Promise<unknown> =>
  client.query('select ingest_close_gaps($1, $2, $3, null)', [first, last, 'filled']);
const declare = (client: Client, first: number | string, last: number | string): Promise<unknown> =>
  client.query('insert into ingest_gaps (first_tick, last_tick) values ($1, $2)', [first, last]);

async function connected(s: Test, url: string): Promise<Client> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'gaps.test' });
  s.teardown(() => client.end());
  await client.query(
    "insert into ingest_state (chain_id, origin, epoch) values ('test', 0, 1) on conflict do nothing",
  );
  return client;
}

for (const server of testServers()) {
  void test(`gaps in the store, on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());
    const session = async (s: Test): Promise<Client> => connected(s, await open.createDatabase());

    await t.test('attempts are counted, and what is given up is cut out', async (s) => {
      const client = await session(s);
      await declare(client, 10, 29);
      await declare(client, 40, 40);
      const tried = [{ ...range(12, 13), error: 'UNAVAILABLE', waitMs: 60_000 }];
      await recordFilling(client, { tried, unfillable: [range(20, 21), range(40, 40)] }, 1n);
      s.same(await gaps(client), ['10-19 open', '20-21 unfillable', '22-29 open', '40-40 unfillable']);
      const { rows } = await client.query(
        `select first_tick, attempts, last_error, next_attempt_at > clock_timestamp() + interval '50 s' as waits,
           closed_at is null as open from ingest_gaps order by first_tick`,
      );
      const kept = { attempts: 1, last_error: 'UNAVAILABLE', waits: true, open: true };
      s.same(rows, [
        { first_tick: '10', ...kept },
        { first_tick: '20', ...kept, last_error: 'the sequencer does not have it', waits: null, open: false },
        { first_tick: '22', ...kept },
        {
          first_tick: '40',
          attempts: 0,
          last_error: 'the sequencer does not have it',
          waits: null,
          open: false,
        },
      ]);
      const ledger = await readLedger(client);
      s.same(ledger.openGaps, [range(10, 19), range(22, 29)]);
      s.same(ledger.unfillable, [range(20, 21), range(40, 40)]);
    });

    await t.test('a replaced daemon records nothing', async (s) => {
      const client = await session(s);
      await declare(client, 10, 19);
      const tried = [{ ...range(10, 19), error: 'no', waitMs: 1 }];
      await s.rejects(recordFilling(client, { tried, unfillable: [range(10, 10)] }, 2n), { code: 'MDF01' });
      s.same(await gaps(client), ['10-19 open']);
      s.equal((await client.query('select from ingest_gaps where attempts > 0')).rowCount, 0);
    });

    await t.test('a tick that comes after all fills what was given up, never what was skipped', async (s) => {
      const client = await session(s);
      await declare(client, 10, 19);
      await recordFilling(client, { tried: [], unfillable: [range(10, 19)] }, 1n);
      await recordSkipped(client, range(30, 39), 1n);
      await fill(client, 14, 15);
      await fill(client, 30, 39);
      s.same(await gaps(client), ['10-13 unfillable', '14-15 filled', '16-19 unfillable', '30-39 skipped']);
      await recordFilling(client, { tried: [], unfillable: [range(14, 15)] }, 1n);
      s.same((await gaps(client))[1], '14-15 filled', 'what is filled is not given up any more');
    });

    await t.test('at the highest number there is', async (s) => {
      const client = await session(s);
      await declare(client, '9223372036854775800', '9223372036854775807');
      await client.query(
        "select ingest_close_gaps(9223372036854775806, 9223372036854775807, 'filled', null)",
      );
      s.same(await gaps(client), [
        '9223372036854775800-9223372036854775805 open',
        '9223372036854775806-9223372036854775807 filled',
      ]);
      await client.query('select ingest_resolve_dead_letters(9223372036854775806, 9223372036854775807)');
    });

    await t.test('any cuts in any order: the rows say for each number what became of it last', async (s) => {
      const client = await session(s);
      const cut = fc.record({
        first: fc.integer({ min: 0, max: 40 }),
        length: fc.integer({ min: 1, max: 8 }),
        fate: fc.constantFrom('filled', 'unfillable'),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(cut, { maxLength: 12 }), async (cuts) => {
          await client.query('delete from ingest_gaps');
          await declare(client, 5, 20);
          await declare(client, 21, 30);
          await declare(client, 33, 36);
          const model = new Map<number, string>();
          for (const [first, last] of [
            [5, 20],
            [21, 30],
            [33, 36],
          ])
            for (let n = first; n <= last; n += 1) model.set(n, 'open');
          for (const { first, length, fate } of cuts) {
            await client.query('select ingest_close_gaps($1, $2, $3, null)', [
              first,
              first + length - 1,
              fate,
            ]);
            for (let n = first; n < first + length; n += 1) {
              const before = model.get(n);
              if (before === 'open' || (before === 'unfillable' && fate === 'filled')) model.set(n, fate);
            }
          }
          const { rows } = await client.query<{ n: string; state: string }>(
            'select n, state from ingest_gaps, generate_series(first_tick, last_tick) n order by n',
          );
          const expected = [...model].sort(([a], [b]) => a - b).map(([n, state]) => ({ n: `${n}`, state }));
          s.strictSame(rows, expected);
          // within one of the gaps, neighbours with one fate are one row
          const split = await client.query(
            `select * from ingest_gaps a join ingest_gaps b on b.first_tick = a.last_tick + 1
               and b.state = a.state and a.state <> 'open' and b.detected_at = a.detected_at`,
          );
          s.equal(split.rowCount, 0);
        }),
        { numRuns: 60 },
      );
    });

    await t.test('one that fills and one that gives up at once: nothing is lost between them', async (s) => {
      const url = await open.createDatabase();
      const [one, two] = await Promise.all([connected(s, url), connected(s, url)]);
      await declare(one, 10, 19);
      await one.query('begin');
      await fill(one, 14, 15);
      const givingUp = recordFilling(two, { tried: [], unfillable: [range(12, 18)] }, 1n);
      await one.query('commit');
      await givingUp;
      s.same(await gaps(one), [
        '10-11 open',
        '12-13 unfillable',
        '14-15 filled',
        '16-18 unfillable',
        '19-19 open',
      ]);
    });

    await t.test('a frame without a number is resolved when the tick it stood for is stored', async (s) => {
      const client = await session(s);
      const add = (after: string | null, raw: string): Promise<unknown> =>
        client.query("select ingest_dead_letter(null, $1, 'malformed_frame', 'why', null, $2, 1)", [
          after,
          Buffer.from(raw),
        ]);
      await add('6', 'one'); // stands for 7
      await add('9', 'first'); // 10
      await add('9', 'second'); // 11
      await add(null, 'zero'); // 0
      await add('49', 'another form'); // 50, as the next one
      await add('49', 'of the same');
      await client.query("select ingest_dead_letter(7, null, 'conflict', 'why', null, 'seven', 1)");
      const store = async (...numbers: number[]): Promise<void> => {
        for (const number of numbers)
          await client.query("insert into vdf_proofs values ($1, '', '', '', 0)", [number]);
      };
      const resolved = async (first: number, last: number): Promise<string[]> => {
        await client.query('select ingest_resolve_dead_letters($1, $2)', [first, last]);
        const { rows } = await client.query<{ raw: string }>(
          `select convert_from(raw, 'UTF8') as raw from dead_letters
             where status = 'resolved' and resolved_at is not null order by raw`,
        );
        return rows.map(({ raw }) => raw);
      };
      s.same(await resolved(7, 7), [], 'a bad answer stores nothing');
      await store(7);
      s.same(await resolved(7, 7), ['one']);
      await store(11, 51);
      s.same(await resolved(11, 11), ['one'], 'the one before it is missing still');
      await store(10);
      s.same(await resolved(10, 10), ['first', 'one', 'second']);
      await store(0, 50);
      s.same(await resolved(0, 60), ['another form', 'first', 'of the same', 'one', 'second', 'zero']);
      const { rows } = await client.query("select status from dead_letters where reason = 'conflict'");
      s.same(rows, [{ status: 'open' }]);
    });
  });
}
