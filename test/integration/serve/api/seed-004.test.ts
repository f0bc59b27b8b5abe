/** The notes on storage say how webhook ticks are stored and asked for: each of their statements, as it is printed there. */
import { Client } from 'pg';
import { test, type Test } from 'tap';
import { createClient, type WebhookTick } from '../../../../src/client/exports.ts';
import { WEBHOOK_TOPIC } from '../../../../src/core/market/webhook-tick.ts';
import { formatMicros, parseIsoMicros } from '../../../../src/core/time.ts';
import { API_TOKEN, serveApi, type ServedApi } from '../../../prove/api/program.ts';
import type { Answer } from '../../../support/api/server.ts';
import { migrateAll } from '../../../support/bus/postgres-bus.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const TICKS_TABLE = `CREATE TABLE md_ticks (
    symbol      text        NOT NULL,
    ts          timestamptz NOT NULL,
    price       numeric     NOT NULL,
    volume      numeric     NOT NULL,
    source      text        NOT NULL,
    PRIMARY KEY (symbol, ts)
);`;
const TICKS_INDEXES = [
  'CREATE INDEX md_ticks_symbol_ts_desc ON md_ticks (symbol, ts DESC);',
  'CREATE INDEX md_ticks_symbol_ts ON md_ticks (symbol, ts);',
  'CREATE INDEX md_ticks_symbol_ts_brin ON md_ticks USING brin (symbol, ts);',
];
const RANGES_TABLE = `CREATE TABLE md_ranges (
    symbol text NOT NULL,
    window tstzrange NOT NULL,
    agg    jsonb NOT NULL
);`;
const RANGES_INDEX = `CREATE INDEX md_ranges_symbol_window_gist
    ON md_ranges USING gist (symbol, window);`;
const LATEST = 'SELECT * FROM md_ticks WHERE symbol = $1 ORDER BY ts DESC LIMIT 1;';
const RECENT = `SELECT * FROM md_ticks
WHERE symbol = $1
ORDER BY ts DESC
LIMIT 1000;`;
const RANGE = `SELECT * FROM md_ticks
WHERE symbol = $1 AND ts BETWEEN $2 AND $3
ORDER BY ts;`;
const LOCK = 'SELECT pg_advisory_xact_lock(hashtext($1)); -- $1 = symbol';
/** "what aggregate covers `2025-10-31 10:00:00Z` for BTC?" */
const COVERING = `SELECT agg FROM md_ranges WHERE symbol = 'BTC' AND "window" @> timestamptz '2025-10-31 10:00:00Z'`;

/** Every value as the server writes it. */
const TEXT = { getTypeParser: () => (value: unknown) => value };

async function connected(t: Test, url: string): Promise<Client> {
  const client = new Client({ connectionString: url, types: TEXT });
  client.on('error', () => {});
  await client.connect();
  t.after(() => client.end());
  await client.query(`SET TimeZone = 'UTC'`);
  return client;
}

type Row = Record<string, string | null>;

/** `window` is a word of SQL: as a name it has quotes. */
function quoted(sql: string): string {
  return sql.replace(/\bwindow\b/g, '"window"');
}

async function columns(client: Client, table: string): Promise<Row[]> {
  const { rows } = await client.query<Row>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required
       FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table],
  );
  return rows;
}

/** Of the index that a condition on pg_index finds: how, and which columns in their order. */
async function indexOf(
  client: Client,
  table: string,
  condition: string,
): Promise<{ method: string; columns: string[] }> {
  const { rows } = await client.query<Row>(
    `SELECT am.amname AS method, a.attname AS "column" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_am am ON am.oid = c.relam CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, at)
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      WHERE i.indrelid = $1::regclass AND ${condition} ORDER BY k.at`,
    [table],
  );
  return { method: String(rows[0]?.['method']), columns: rows.map((row) => String(row['column'])) };
}

testOnServers('the tables of the notes on storage, and ours', async (t, server) => {
  const url = await server.createDatabase({ schema: false });
  await migrateAll(url);
  const client = await connected(t, url);
  await client.query('CREATE SCHEMA notes; SET search_path = notes, public');

  await t.test('md_ticks: its columns come first, its key is where ours begins', async (t) => {
    await client.query(TICKS_TABLE);
    const asked = await columns(client, 'notes.md_ticks');
    t.equal(asked.length, 5);
    t.strictSame((await columns(client, 'public.md_ticks')).slice(0, asked.length), asked);
    const key = await indexOf(client, 'notes.md_ticks', 'i.indisprimary');
    const ours = await indexOf(client, 'public.md_ticks', 'i.indisprimary');
    t.strictSame(key, { method: 'btree', columns: ['symbol', 'ts'] });
    t.strictSame(ours, { method: 'btree', columns: ['symbol', 'ts', 'source', 'seq'] });
  });

  await t.test(
    'md_ranges: the same columns, and its GiST index is what keeps our windows apart',
    async (t) => {
      for (const sql of [RANGES_TABLE, RANGES_INDEX]) {
        await t.rejects(client.query(sql), { code: '42601' }, 'as it is printed no PostgreSQL takes it');
        await client.query(quoted(sql));
      }
      t.strictSame(await columns(client, 'public.md_ranges'), await columns(client, 'notes.md_ranges'));
      const gist = `am.amname = 'gist'`;
      const asked = await indexOf(client, 'notes.md_ranges', gist);
      t.strictSame(asked, { method: 'gist', columns: ['symbol', 'window'] });
      t.strictSame(await indexOf(client, 'public.md_ranges', gist), asked);
    },
  );

  await t.test('its statements run on our tables', async (t) => {
    await client.query('SET search_path = public');
    for (const index of TICKS_INDEXES) await client.query(index);
    const tick = ['BTC', '2025-10-31 10:00:00+00', '110000.10', '0.025', 'feeder'];
    const insert =
      'INSERT INTO md_ticks (symbol, ts, price, volume, source) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING';
    t.equal((await client.query(insert, tick)).rowCount, 1);
    t.equal((await client.query(insert, tick)).rowCount, 0);
    for (const [sql, values] of [
      [LATEST, ['BTC']],
      [RECENT, ['BTC']],
      [RANGE, ['BTC', '2025-10-31 10:00:00Z', '2025-10-31 10:00:00Z']],
    ] as const) {
      const { rows } = await client.query<Row>(sql, [...values]);
      t.equal(rows.length, 1);
      t.strictSame(Object.values(rows[0]).slice(0, 5), tick, 'its columns, in its order, with its digits');
    }
    await client.query('BEGIN');
    await client.query(LOCK, ['BTC']);
    await client.query(
      `INSERT INTO md_ranges VALUES ('BTC', '[2025-10-31 10:00:00Z,2025-10-31 10:01:00Z)',
         '{"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "count": 1}')`,
    );
    await client.query('COMMIT;');
    t.equal((await client.query(COVERING)).rows.length, 1);
  });
});

void test('the queries of the notes are answered by an index', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase(undefined, { schema: false });
  await migrateAll(url);
  const client = await connected(t, url);
  await client.query(
    `INSERT INTO md_ticks (symbol, ts, price, volume, source)
     SELECT 'S' || n % 50, timestamptz '2025-10-31 10:00:00Z' + n * interval '1 second', 1, 1, 'f' FROM generate_series(0, 99999) n`,
  );
  await client.query(
    `INSERT INTO md_ranges SELECT s, tstzrange(at, at + interval '1 minute'), '{"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "count": 1}'
       FROM (SELECT unnest(array['BTC', 'ETH', 'SOL']) AS s, timestamptz '2025-10-31 00:00:00Z' + n * interval '1 minute' AS at
               FROM generate_series(0, 4999) n) given`,
  );
  await client.query('ANALYZE md_ticks, md_ranges');
  for (const [sql, values, index] of [
    [LATEST, ['S7'], 'md_ticks_pkey'],
    [RECENT, ['S7'], 'md_ticks_pkey'],
    [RANGE, ['S7', '2025-10-31 11:00:00Z', '2025-10-31 11:30:00Z'], 'md_ticks_pkey'],
    [COVERING, [], 'md_ranges_symbol_window_gist'],
  ] as const) {
    const { rows } = await client.query<Row>(`EXPLAIN ${sql}`, [...values]);
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    t.match(plan, index, plan);
    t.notMatch(plan, /Seq Scan/, sql);
  }
});

/** ticks of BTC; µs between two of them */
const TICKS = 1_500;
const STEP_US = 40_001n;
const FIRST = parseIsoMicros('2025-10-31T10:00:00Z');

interface SentTick {
  symbol: string;
  ts: string;
  price: string;
  volume: string;
  source: string;
}

function tickOf(number: number, symbol = 'BTC'): SentTick {
  const ts = formatMicros(FIRST + BigInt(number) * STEP_US);
  return {
    symbol,
    ts,
    price: `${110_000 + (number % 97)}.${number % 10}0`,
    volume: `0.0${number}`,
    source: 'feeder',
  };
}

function post(api: ServedApi, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const type = { 'content-type': 'application/json' };
  return api.ask({
    method: 'POST',
    path: '/ingest/tick',
    headers: { ...type, ...headers },
    body: JSON.stringify(body),
  });
}

/** A row of md_ticks, and an item of the API, as they were sent. */
function sentOfRow({ symbol, ts, price, volume, source }: Row): SentTick {
  const iso = String(ts).replace(' ', 'T').replace(/\+00$/, 'Z');
  return {
    symbol: String(symbol),
    ts: formatMicros(parseIsoMicros(iso)),
    price: String(price),
    volume: String(volume),
    source: String(source),
  };
}

function sentOfItem({ symbol, ts, price, volume, source }: WebhookTick): SentTick {
  return { symbol, ts, price: String(price), volume: String(volume), source };
}

void test('a tick goes the way that the notes draw, and is asked for as they say', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const api = await serveApi(await server.createDatabase(undefined, { schema: false }), { content: [] });
  t.after(() => api.stop());
  const client = await connected(t, api.databaseUrl);
  const caller = createClient({ url: api.url, token: API_TOKEN });
  const webhook = { kind: 'webhook' } as const;
  const rowsOf = async (sql: string, values: unknown[]): Promise<SentTick[]> =>
    (await client.query<Row>(sql, values)).rows.map(sentOfRow);
  const all = Array.from({ length: TICKS }, (_, number) => tickOf(number));

  await t.test(
    'validated and authenticated, on the queue before 200, in the table after a flush',
    async (t) => {
      t.equal((await post(api, all[0], { authorization: 'Bearer other' })).status, 401);
      t.equal((await post(api, { ...all[0], price: 'much' })).status, 400);
      t.match(await post(api, all[0]), { status: 200, text: '{"accepted":1}' });
      t.match(await post(api, all), { status: 200, text: `{"accepted":${TICKS}}` });
      await until('all are stored', async () => {
        const { rows } = await client.query<Row>('SELECT count(*) AS count FROM md_ticks');
        return Number(rows[0]?.['count']) === TICKS;
      });
      await until('the queue has nothing of it any more', async () => {
        const groups =
          (await caller.status()).bus?.groups.filter(({ topic }) => topic === WEBHOOK_TOPIC) ?? [];
        return groups.length > 0 && groups.every(({ pending, lag }) => pending === 0 && lag === 0);
      });
    },
  );

  await t.test('latest per symbol', async (t) => {
    const rows = await rowsOf(LATEST, ['BTC']);
    t.strictSame(rows, [all.at(-1)]);
    t.strictSame(sentOfItem(await caller.latest('BTC', webhook)), rows[0]);
  });

  await t.test('recent history, N = 1000', async (t) => {
    const rows = await rowsOf(RECENT, ['BTC']);
    t.strictSame(rows, all.slice(-1_000).toReversed());
    const { items, next } = await caller.recent('BTC', webhook).page();
    t.strictSame(items.map(sentOfItem), rows);
    t.type(next, 'string', 'the rest is behind it');
  });

  await t.test('a range of time, both ends included', async (t) => {
    const [start, end] = [all[100].ts, all[1_300].ts];
    const rows = await rowsOf(RANGE, ['BTC', start, end]);
    t.strictSame(rows, all.slice(100, 1_301));
    const items = await Array.fromAsync(caller.range('BTC', { ...webhook, start, end }));
    t.strictSame(items.map(sentOfItem), rows);
  });

  await t.test('what aggregate covers 2025-10-31 10:00:00Z for BTC', async (t) => {
    const { rows } = await client.query<Row>(COVERING);
    t.equal(rows.length, 1);
    const agg = JSON.parse(String(rows[0]?.['agg'])) as Record<string, number>;
    const item = await caller.rangeAt('BTC', '2025-10-31 10:00:00Z');
    t.match(item, { start: '2025-10-31T10:00:00.000000Z', end: '2025-10-31T10:01:00.000000Z' });
    for (const name of ['open', 'high', 'low', 'close', 'volume', 'count'] as const)
      t.equal(Number(item?.[name]), agg[name], name);
  });

  await t.test('the flusher and others merge ranges under one lock', async (t) => {
    await client.query('BEGIN');
    await client.query(LOCK, ['BTC']);
    const late = tickOf(TICKS);
    t.equal((await post(api, late)).status, 200);
    const other = await connected(t, api.databaseUrl);
    await until('the flusher waits for the lock', async () => {
      const { rows } = await other.query<Row>(
        `SELECT count(*) AS count FROM pg_locks
          WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND objid::bigint = hashtext('BTC')::bigint & 4294967295`,
      );
      return Number(rows[0]?.['count']) > 0;
    });
    t.strictSame(
      sentOfItem(await caller.latest('BTC', webhook)),
      all.at(-1),
      'nothing of its transaction is seen',
    );
    await client.query(
      `INSERT INTO md_ranges AS r VALUES ('BTC', '[2025-10-31 09:00:00Z,2025-10-31 09:05:00Z)',
         '{"open": 1, "high": 2, "low": 1, "close": 2, "volume": 3.10, "count": 4}')
       ON CONFLICT (symbol, "window") DO UPDATE SET agg = excluded.agg`,
    );
    await client.query('COMMIT;');
    await until(
      'the tick is stored',
      async () => sentOfItem(await caller.latest('BTC', webhook)).ts === late.ts,
    );
    t.match(await caller.rangeAt('BTC', '2025-10-31 09:02:00Z'), { high: 2, volume: '3.10', count: 4 });
  });
});
