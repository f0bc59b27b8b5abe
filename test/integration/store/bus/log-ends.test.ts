import { test } from 'tap';
import { Client } from 'pg';
import { BusLogEnds } from '../../../../src/store/bus/log-ends.ts';
import { migrateAll } from '../../../support/bus/postgres-bus.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

const HOUR_MS = 3_600_000;
const LIMITS = { ageMs: 10 * HOUR_MS, spacingMs: HOUR_MS };

void test('ends of logs age by the clock of the database', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const client = new Client({ connectionString: url });
  await client.connect();
  t.after(() => client.end());
  const ends = new BusLogEnds((work) => work(client));
  const note = async (position: string, log = 'log-1', partition = 0): Promise<[string, number][]> => {
    const noted = await ends.note('dlq', log, partition, position, LIMITS);
    return noted.map((each) => [each.position, Math.round(each.ageMs / HOUR_MS)]);
  };
  /** As if so many hours had passed. */
  const later = (hours: number): Promise<unknown> =>
    client.query("UPDATE bus_log_ends SET seen_at = seen_at - $1 * interval '1 hour'", [hours]);

  t.strictSame(await note('5'), [['5', 0]]);
  t.strictSame(await note('6'), [['5', 0]], 'too soon for another one');
  await later(2);
  t.strictSame(await note('5'), [['5', 2]], 'it still ends there');
  t.strictSame(await note('7'), [
    ['5', 2],
    ['7', 0],
  ]);
  t.strictSame(await note('1', 'log-1', 1), [['1', 0]], 'each partition for itself');
  await later(9);
  t.strictSame(
    await note('9'),
    [
      ['5', 11],
      ['7', 9],
      ['9', 0],
    ],
    'one that is older than asked for is kept',
  );
  await later(2);
  t.strictSame(
    await note('9'),
    [
      ['7', 11],
      ['9', 2],
    ],
    'and no more than one',
  );
  await ends.forget('dlq', 0);
  t.strictSame(await note('3'), [['3', 0]]);
  t.strictSame(await note('3', 'log-2'), [['3', 0]]);
  t.strictSame((await client.query('SELECT DISTINCT log FROM bus_log_ends')).rows, [{ log: 'log-2' }]);
});
