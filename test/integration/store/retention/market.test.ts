import { test, type Test } from 'tap';
import type { Client } from 'pg';
import type { RetentionAges } from '../../../../src/core/retention.ts';
import { formatMicros, parseIsoMicros } from '../../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import {
  readHypertables,
  ROWS_PER_DELETE,
  earlierNow,
  type Round,
} from '../../../../src/store/retention/round.ts';
import { dropBars, dropSignals, dropTickData } from '../../../../src/store/retention/market.ts';
import { dropMdTicks } from '../../../../src/store/retention/webhook.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';

const DAY_MS = 86_400_000;
const DAY_MICROS = 86_400_000_000n;
/** a Thursday: chunks of seven days begin with it */
const BEGIN = parseIsoMicros('2025-07-31');
const DAYS = 30;
/** in the middle of a day */
const NOW = BEGIN + BigInt(DAYS) * DAY_MICROS + DAY_MICROS / 2n;
const HORIZON_MS = DAY_MS;

interface Store {
  client: Client;
  isHyper: boolean;
  drop(days: { tickData?: number; bars?: number; signals?: number; mdTicks?: number }): Promise<Round>;
}

async function storeOf(t: Test, opened: OpenTestServer): Promise<Store> {
  const client = await connect(parseDatabaseUrl(await opened.createDatabase()), { applicationName: 'test' });
  t.teardown(() => client.end());
  await migrate(client);
  const known = await readHypertables(client);
  return {
    client,
    isHyper: known.tables.has('tick_data'),
    async drop({ tickData, bars, signals, mdTicks }) {
      const ages: RetentionAges = {
        chainMs: null,
        tickDataMs: daysMs(tickData),
        barsMs: daysMs(bars),
        signalsMs: daysMs(signals),
        mdTicksMs: daysMs(mdTicks),
      };
      const rule = { ages, reviseHorizonMs: HORIZON_MS, nowMicros: NOW };
      const rounds = [
        await dropTickData(client, known, rule),
        await dropBars(client, known, rule),
        await dropSignals(client, known, rule),
        await dropMdTicks(client, known, rule),
      ];
      return {
        dropped: rounds.flatMap(({ dropped }) => dropped),
        heldBack: rounds.flatMap(({ heldBack }) => heldBack),
      };
    },
  };
}

function daysMs(days: number | undefined): number | null {
  return days === undefined ? null : days * DAY_MS;
}

const dayAt = (day: number): string => formatMicros(BEGIN + BigInt(day) * DAY_MICROS);

/** 24 ticks a day of each of three series; SPY of prov-b ends after ten days. */
async function fillTicks({ client }: Store): Promise<void> {
  await client.query(
    `INSERT INTO tick_data (provider, symbol, price, ts)
     SELECT s.provider, s.symbol, 1, $1::timestamptz + n * interval '1 hour'
       FROM (VALUES ('prov-a', 'NVDA', $2), ('prov-a', 'SPY', $2), ('prov-b', 'SPY', 10)) s (provider, symbol, days)
      CROSS JOIN LATERAL generate_series(0, s.days::int * 24 - 1) n`,
    [dayAt(0), DAYS],
  );
}

/** A window an hour of one series in each table of bars, the whole time. */
async function fillBars({ client }: Store): Promise<void> {
  const values = `'prov-a', 'SPY', '1h', $1::timestamptz + n * interval '1 hour', 1, 1, 1, 1, 1, 1, 1, now(), now(), true`;
  const columns =
    'provider, symbol, "interval", ts, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final';
  const hours = `generate_series(0, ${DAYS * 24 - 1}) n`;
  await client.query(`INSERT INTO bars_ohlcv (${columns}) SELECT ${values} FROM ${hours}`, [dayAt(0)]);
  await client.query(
    `INSERT INTO bars_history (${columns}, revision, created_at, updated_at) SELECT ${values}, 0, now(), now() FROM ${hours}`,
    [dayAt(0)],
  );
  await client.query(
    `INSERT INTO bars_replay (replay_run_id, ${columns}) SELECT r, ${values} FROM generate_series(1, 3) r, ${hours}`,
    [dayAt(0)],
  );
}

async function oldest({ client }: Store, table: string): Promise<string> {
  const { rows } = await client.query<{ us: string }>(
    `SELECT (extract(epoch FROM min(ts)) * 1000000)::bigint AS us FROM ${table}`,
  );
  return formatMicros(BigInt(rows[0].us));
}

async function count({ client }: Store, table: string): Promise<number> {
  const { rows } = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
  return rows[0].n;
}

async function floors({ client }: Store): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; us: string }>(
    'SELECT name, (extract(epoch FROM ts) * 1000000)::bigint AS us FROM retention_floors ORDER BY name',
  );
  return Object.fromEntries(rows.map(({ name, us }) => [name, formatMicros(BigInt(us))]));
}

for (const server of testServers()) {
  void test(`retention of market tables on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());

    await t.test('whole days of tick_data go, of every series, and the floor says so', async (s) => {
      const store = await storeOf(s, opened);
      await fillTicks(store);
      s.strictSame(await store.drop({}), { dropped: [], heldBack: [] }, 'retention is off');
      s.strictSame(await store.drop({ tickData: 40 }), { dropped: [], heldBack: [] }, 'all is young');
      s.strictSame(await floors(store), {}, 'what dropped nothing has no floor');
      const { dropped } = await store.drop({ tickData: 12 });
      const rows = (18 + 18 + 10) * 24;
      s.strictSame(
        dropped,
        store.isHyper
          ? [{ table: 'tick_data', chunks: 18, rows: 0 }]
          : [{ table: 'tick_data', chunks: 0, rows }],
      );
      s.equal(await count(store, 'tick_data'), 2 * 12 * 24);
      s.equal(await oldest(store, 'tick_data'), dayAt(18));
      s.strictSame(await floors(store), { tick_data: dayAt(18) });
      s.strictSame((await store.drop({ tickData: 12 })).dropped, []);
    });

    await t.test('what late events may still correct is kept, however slow the bars are', async (s) => {
      const store = await storeOf(s, opened);
      await fillTicks(store);
      const watermark = (partition: number, symbol: string, day: number, run = 0): Promise<unknown> =>
        store.client.query(
          `INSERT INTO bars_watermarks (topic, group_name, partition, replay_run_id, provider, symbol, max_ts, closed_end)
           VALUES ('mdp.events', 'mdp-consumers', $1, $2, 'prov-a', $3, $4, $4)`,
          [partition, run, symbol, dayAt(day)],
        );
      await watermark(0, 'NVDA', 29);
      await watermark(0, 'GONE', 1);
      await watermark(1, 'SPY', 8);
      await watermark(1, 'SPY', 3, 7);
      const { heldBack } = await store.drop({ tickData: 12 });
      s.match(heldBack, [{ what: 'tick_data', by: /mdp-consumers lags or stands still/ }]);
      s.equal(
        await oldest(store, 'tick_data'),
        dayAt(6),
        'horizon and a day below the slowest partition; symbols that are gone and replays hold nothing back',
      );
      await store.client.query(
        `INSERT INTO bars_late_windows (topic, group_name, partition, provider, symbol, ts, ts_end)
         VALUES ('mdp.events', 'mdp-consumers', 1, 'prov-a', 'SPY', $1, $1::timestamptz + interval '2 s')`,
        [formatMicros(BEGIN + 8n * DAY_MICROS + 5_000_000n)],
      );
      await watermark(1, 'OTHER', 29);
      await store.drop({ tickData: 12 });
      s.equal(await oldest(store, 'tick_data'), dayAt(8), 'the day of a window that waits to be corrected');
      await store.client.query('DELETE FROM bars_late_windows');
      s.strictSame((await store.drop({ tickData: 12 })).heldBack, []);
      s.equal(await oldest(store, 'tick_data'), dayAt(18));
    });

    await t.test('many rows of one series, and of one time, go in several transactions', async (s) => {
      const store = await storeOf(s, opened);
      const insert = `INSERT INTO tick_data (provider, symbol, price, ts, seq) SELECT 'p', 'S', 1, `;
      const some = Math.floor(ROWS_PER_DELETE * 1.2);
      await store.client.query(
        `${insert} $1::timestamptz + n * interval '1 ms', n FROM generate_series(1, $2::int) n`,
        [dayAt(0), some],
      );
      await store.client.query(`${insert} $1, n FROM generate_series(1, $2::int) n`, [dayAt(1), some]);
      await store.client.query(`${insert} $1, 1`, [dayAt(29)]);
      const { dropped } = await store.drop({ tickData: 12 });
      if (!store.isHyper) s.strictSame(dropped, [{ table: 'tick_data', chunks: 0, rows: 2 * some }]);
      s.equal(await count(store, 'tick_data'), 1);
    });

    await t.test('bars go by their window, those of a replay by the end of its run', async (s) => {
      const store = await storeOf(s, opened);
      await fillBars(store);
      for (const [name, ended] of [
        ['long ago', dayAt(5)],
        ['yesterday', dayAt(29)],
        ['still running', null],
      ]) {
        await store.client.query(
          `INSERT INTO job_runs (job_name, status, completed_at, metadata) VALUES ('tick_replay', 'running', $1, $2)`,
          [ended, JSON.stringify({ name })],
        );
      }
      const { dropped } = await store.drop({ bars: 14 });
      const replay = { table: 'bars_replay', chunks: 0, rows: DAYS * 24 };
      // 16 days are old enough: two chunks of seven
      s.strictSame(
        dropped,
        ['bars_ohlcv', 'bars_history']
          .map((table) =>
            store.isHyper ? { table, chunks: 2, rows: 0 } : { table, chunks: 0, rows: 16 * 24 },
          )
          .concat(replay),
      );
      for (const table of ['bars_ohlcv', 'bars_history'])
        s.equal(await oldest(store, table), dayAt(store.isHyper ? 14 : 16), table);
      const runs = await store.client.query('SELECT DISTINCT replay_run_id FROM bars_replay ORDER BY 1');
      s.strictSame(runs.rows, [{ replay_run_id: '2' }, { replay_run_id: '3' }]);
      s.strictSame(await floors(store), { bars_history: dayAt(16), bars_ohlcv: dayAt(16) });
    });

    await t.test('signals go by their time, and what is known of ticks goes with these', async (s) => {
      const store = await storeOf(s, opened);
      await fillTicks(store);
      const { client } = store;
      await client.query(
        `INSERT INTO signals (provider, symbol, ts, name, value) SELECT provider, symbol, ts, 'rsi', 50 FROM tick_data`,
      );
      await client.query(
        `INSERT INTO features_late (topic, group_name, provider, symbol, ts, seq) SELECT 't', 'g', provider, symbol, ts, 0 FROM tick_data`,
      );
      await client.query(
        `INSERT INTO feature_keys (topic, group_name, provider, symbol, life, ts, keys) SELECT 't', 'g', provider, symbol, 1, ts, '' FROM tick_data`,
      );
      await client.query(
        `INSERT INTO feature_digests (topic, group_name, replay_run_id, provider, symbol, ts, first_ts, last_ts, shape, rows, digest)
           SELECT 't', 'g', 0, provider, symbol, ts, ts, ts, '', 1, '' FROM tick_data`,
      );
      const { dropped } = await store.drop({ signals: 14, tickData: 20 });
      s.strictSame(
        dropped.map(({ table }) => table),
        ['tick_data', 'features_late', 'feature_keys', 'feature_digests', 'signals'],
      );
      s.equal(
        await oldest(store, 'signals'),
        dayAt(store.isHyper ? 14 : 16),
        'chunks of signals hold a week',
      );
      for (const table of ['tick_data', 'features_late', 'feature_keys', 'feature_digests'])
        s.equal(await oldest(store, table), dayAt(10), table);
    });

    await t.test(
      'ticks of the webhook go by their time, and with them the ranges of those days',
      async (s) => {
        const store = await storeOf(s, opened);
        await fillTicks(store);
        const { client } = store;
        await client.query(
          `INSERT INTO md_ticks (symbol, ts, price, volume, source, seq)
           SELECT symbol, ts, 1, 1, provider, n FROM tick_data CROSS JOIN generate_series(1, 2) n`,
        );
        await client.query(
          `INSERT INTO md_ranges SELECT DISTINCT symbol, tstzrange(ts, ts + interval '1 minute'),
             '{"open":1,"high":1,"low":1,"close":1,"volume":1,"count":1}'::jsonb FROM tick_data`,
        );
        const { dropped } = await store.drop({ mdTicks: 14 });
        const ticks = 10 * 24 * 2 * 3 + 6 * 24 * 2 * 2;
        s.strictSame(dropped, [
          store.isHyper
            ? { table: 'md_ticks', chunks: 16, rows: 0 }
            : { table: 'md_ticks', chunks: 0, rows: ticks },
          { table: 'md_ranges', chunks: 0, rows: 16 * 24 * 2 },
        ]);
        s.equal(await oldest(store, 'md_ticks'), dayAt(16));
        const { rows } = await client.query<{ us: string }>(
          `SELECT (extract(epoch FROM min(lower("window"))) * 1000000)::bigint AS us FROM md_ranges`,
        );
        s.equal(formatMicros(BigInt(rows[0].us)), dayAt(16));
        s.strictSame((await store.drop({ mdTicks: 14 })).dropped, [], 'once');
      },
    );

    await t.test('a store without the market tables has nothing to drop', async (s) => {
      const client = await connect(parseDatabaseUrl(await opened.createDatabase()), {
        applicationName: 'test',
      });
      s.teardown(() => client.end());
      const known = await readHypertables(client);
      const ages = {
        chainMs: null,
        tickDataMs: DAY_MS,
        barsMs: DAY_MS,
        signalsMs: DAY_MS,
        mdTicksMs: DAY_MS,
      };
      const rule = { ages, reviseHorizonMs: 0, nowMicros: NOW };
      s.strictSame(await dropTickData(client, known, rule), { dropped: [], heldBack: [] });
      s.strictSame(await dropBars(client, known, rule), { dropped: [], heldBack: [] });
      s.strictSame(await dropSignals(client, known, rule), { dropped: [], heldBack: [] });
      s.strictSame(await dropMdTicks(client, known, rule), { dropped: [], heldBack: [] });
    });

    await t.test('a clock that is ahead of the database drops nothing more', async (s) => {
      const { client } = await storeOf(s, opened);
      const future = parseIsoMicros('2999-01-01');
      s.ok((await earlierNow(client, future)) < parseIsoMicros('2990-01-01'));
      s.equal(await earlierNow(client, NOW), NOW);
    });
  });
}
