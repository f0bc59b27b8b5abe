import type { Test } from 'tap';
import type { Client } from 'pg';
import { parseWebhookBody, type WebhookTick } from '../../../../src/core/market/webhook-tick.ts';
import { formatMicros, type Micros } from '../../../../src/core/time.ts';
import { MdTicksStore, writeMdTicks } from '../../../../src/store/market/md-ticks.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { seededRandom, type Random } from '../../../support/random.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';
import type { OpenTestServer } from '../../../support/servers/postgres.ts';
import { differingRanges } from '../../../support/webhook/ranges-oracle.ts';

/** 2025-10-31 10:00:00 UTC */
const TEN = 1_761_904_800_000_000n;
const SECOND = 1_000_000n;

testOnServers('webhook ticks', async (t, opened) => {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  await t.test('each once, with its digits', async (t) => exact(t, await database(t, opened)));
  await t.test('repetitions and conflicts', async (t) => conflicts(t, await database(t, opened)));
  await t.test('ranges', async (t) => ranges(t, await database(t, opened)));
  await t.test('windows of others', async (t) => foreignWindows(t, await database(t, opened)));
  await t.test('two writers at once', async (t) => writers(t, await database(t, opened), random));
  await t.test('whether rows are taken', async (t) => witness(t, await database(t, opened)));
});

interface Database {
  client: Client;
  open: () => Promise<Client>;
}

async function database(t: Test, opened: OpenTestServer): Promise<Database> {
  const url = await opened.createDatabase();
  const open = async (): Promise<Client> => {
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    t.teardown(() => client.end());
    return client;
  };
  const client = await open();
  await migrate(client);
  return { client, open };
}

function tick(changes: Record<string, unknown> = {}): WebhookTick {
  const found = parseWebhookBody(
    JSON.stringify({
      symbol: 'BTC',
      ts: formatMicros(TEN),
      price: '100',
      volume: '1',
      source: 'feeder',
      ...changes,
    }),
  );
  if (found.kind === 'refused') throw new Error(JSON.stringify(found.problems));
  return found.ticks[0];
}

/** What covers a time, by the query of the seed: numbers as they are stored, and the start of the window. */
async function covering(client: Client, symbol: string, time: Micros): Promise<unknown> {
  const { rows } = await client.query(
    `SELECT agg->>'open' AS open, agg->>'high' AS high, agg->>'low' AS low, agg->>'close' AS close, agg->>'volume' AS volume,
            (agg->>'count')::int AS count, to_char(lower("window") AT TIME ZONE 'UTC', 'HH24:MI') AS start
       FROM md_ranges WHERE symbol = $1 AND "window" @> $2::timestamptz`,
    [symbol, formatMicros(time)],
  );
  return rows[0] ?? null;
}

const at = (offset: bigint): string => formatMicros(TEN + offset);

async function exact(t: Test, { client }: Database): Promise<void> {
  t.strictSame(await writeMdTicks(client, []), { stored: 0, known: 0, conflicts: [] });
  const price = '-12345678901234567890.1234567890';
  t.strictSame(await writeMdTicks(client, [tick({ price, volume: '0.00', seq: '9223372036854775807' })]), {
    stored: 1,
    known: 0,
    conflicts: [],
  });
  const { rows } = await client.query<Record<string, string>>(
    `SELECT symbol, (extract(epoch FROM ts) * 1000000)::bigint::text AS us, price::text, volume::text, source, seq::text FROM md_ticks`,
  );
  t.strictSame(rows, [
    {
      symbol: 'BTC',
      us: TEN.toString(),
      price,
      volume: '0.00',
      source: 'feeder',
      seq: '9223372036854775807',
    },
  ]);
}

async function conflicts(t: Test, { client }: Database): Promise<void> {
  t.strictSame(
    await writeMdTicks(client, [tick(), tick({ price: '100.00' }), tick({ price: '101' }), tick({ seq: 1 })]),
    { stored: 2, known: 1, conflicts: [2] },
    'of one batch the first; 100.00 is 100',
  );
  t.strictSame(
    await writeMdTicks(client, [
      tick({ volume: '2' }),
      tick({ volume: '1.0' }),
      tick({ seq: 2 }),
      tick({ source: 'other', price: '7' }),
    ]),
    { stored: 2, known: 1, conflicts: [0] },
  );
  t.strictSame(await writeMdTicks(client, [tick({ volume: '2' })]), { stored: 0, known: 0, conflicts: [0] });
  t.match(await covering(client, 'BTC', TEN), { count: 4, volume: '4', high: '100', low: '7' });
}

async function ranges(t: Test, { client }: Database): Promise<void> {
  t.equal(await covering(client, 'BTC', TEN), null);
  await writeMdTicks(client, [
    tick({ ts: at(59n * SECOND), price: '3.10', volume: '0.1' }),
    tick({ ts: at(0n), price: '2.00', volume: '0.20' }),
    tick({ ts: at(60n * SECOND), price: '9', volume: '1' }),
    tick({ symbol: 'ETH', ts: at(-1n), price: '5', volume: '1' }),
  ]);
  t.strictSame(await covering(client, 'BTC', TEN + 30n * SECOND), {
    open: '2.00',
    high: '3.10',
    low: '2.00',
    close: '3.10',
    volume: '0.30',
    count: 2,
    start: '10:00',
  });
  // a late one, and one before it at the same time: the order is (ts, source, seq)
  await writeMdTicks(client, [
    tick({ ts: at(59n * SECOND), source: 'z', price: '1', volume: '0' }),
    tick({ ts: at(0n), source: 'a', price: '2.5', volume: '0' }),
  ]);
  t.match(await covering(client, 'BTC', TEN), {
    open: '2.5',
    high: '3.10',
    low: '1',
    close: '1',
    volume: '0.30',
    count: 4,
  });
  t.match(await covering(client, 'BTC', TEN + 60n * SECOND), { open: '9', count: 1 });
  t.equal(await covering(client, 'BTC', TEN + 120n * SECOND), null, 'the end of a window is not in it');
  t.match(await covering(client, 'ETH', TEN - 1n), { start: '09:59' });
  t.strictSame(await differingRanges(client), []);
}

async function foreignWindows(t: Test, { client }: Database): Promise<void> {
  await client.query(
    `INSERT INTO md_ranges VALUES ('BTC', '[2025-10-31 10:00Z,2025-10-31 11:00Z)', '{"open":1,"high":1,"low":1,"close":1,"volume":0,"count":0}')`,
  );
  t.match(await writeMdTicks(client, [tick(), tick({ ts: at(3600n * SECOND) })]), { stored: 2 });
  const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM md_ranges');
  t.equal(rows[0].n, '2', 'what somebody else covers stays as it is');
}

/** Batches of ticks, some of them in several, by several sessions; no deadlock, and every range is that of its ticks. */
async function writers(t: Test, { client, open }: Database, random: Random): Promise<void> {
  const symbols = Array.from({ length: 30 }, (_, index) => `S${index}`);
  const batches = Array.from({ length: 40 }, () =>
    Array.from({ length: 100 }, () =>
      tick({
        symbol: random.pick(symbols),
        ts: at(BigInt(random.whole(0, 300)) * SECOND),
        price: `${random.whole(1, 9999)}.${random.whole(0, 99)}`,
        volume: `0.${random.whole(0, 999)}`,
        seq: random.whole(0, 5),
      }),
    ),
  );
  const sent = batches.flat();
  const clients = await Promise.all([open(), open(), open(), open()]);
  const queue = [...batches, ...batches.slice(0, 10)];
  let stored = 0;
  let refused = 0;
  await Promise.all(
    clients.map(async (one) => {
      for (let batch = queue.shift(); batch !== undefined; batch = queue.shift()) {
        const result = await writeMdTicks(one, batch);
        stored += result.stored;
        refused += result.conflicts.length;
      }
    }),
  );
  const keys = new Set(sent.map(({ eventId }) => eventId)).size;
  t.equal(stored, keys, 'each key once');
  t.ok(refused > 0, 'and of others the first');
  const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM md_ticks');
  t.equal(Number(rows[0].n), keys);
  t.strictSame(await differingRanges(client), []);
}

async function witness(t: Test, { client }: Database): Promise<void> {
  const store = new MdTicksStore((work) => work(client));
  t.equal(await store.witness(), 'none');
  await store.write([tick()]);
  t.equal(await store.witness(), 'passes');
  await client.query(
    'ALTER TABLE md_ranges ADD COLUMN extra int, ADD CONSTRAINT extra CHECK (extra IS NOT NULL) NOT VALID',
  );
  t.equal(await store.witness(), 'fails', 'the ranges count as well');
}
