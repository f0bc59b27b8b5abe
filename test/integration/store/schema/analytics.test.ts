import { test, type Test } from 'tap';
import type { Client } from 'pg';
import type { TickDataRow } from '../../../../src/core/copy/tick-data.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { TickDataWriter } from '../../../../src/store/market/tick-data.ts';
import { testServers, type OpenTestServer } from '../../../support/servers/postgres.ts';
import { seededRandom, type Random } from '../../../support/random.ts';

/** 2025-08-23 10:55:00 UTC */
const START = 1_755_946_500_000_000n;
const MINUTE = 60_000_000n;
const PROVIDER = 'ibkr';

function tick(overrides: Partial<TickDataRow> = {}): TickDataRow {
  return {
    provider: PROVIDER,
    symbol: 'NVDA',
    srcTs: START,
    seq: 0n,
    price: 100,
    size: 1,
    bid: null,
    ask: null,
    side: null,
    ...overrides,
  };
}

for (const server of testServers()) {
  void test(`analytics on ${server.name}`, { skip: server.skip }, async (t) => {
    const opened = await server.open();
    t.teardown(() => opened.close());
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);

    await barViews(t, opened);
    await spreads(t, opened, random);
    await vwap(t, opened, random);
    await profiles(t, opened, random);
    await profileEdges(t, opened);
    await buckets(t, opened, random);
  });
}

async function filled(t: Test, opened: OpenTestServer, ticks: readonly TickDataRow[]): Promise<Client> {
  const client = await connect(parseDatabaseUrl(await opened.createDatabase()), { applicationName: 'test' });
  t.teardown(() => client.end());
  await migrate(client);
  // what is computed must not depend on where the session thinks it is: Kathmandu is 5:45 ahead
  await client.query("SET timezone = 'Asia/Kathmandu'");
  t.equal((await new TickDataWriter(client).write(ticks)).stored, ticks.length);
  return client;
}

const MICROS = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::bigint AS ${column}`;

function at(micros: bigint): string {
  return formatMicros(micros);
}

/** Ticks of two symbols over ten minutes, in no order, several in one microsecond. */
function randomTicks(random: Random, count: number, least: number, most: number): TickDataRow[] {
  const maybe = (value: () => number): number | null => (random.percent(20) ? null : value());
  return Array.from({ length: count }, (_, seq) => {
    const price = random.whole(least, most) / 100;
    return tick({
      symbol: random.pick(['NVDA', 'SPY']),
      srcTs: START + BigInt(random.whole(0, 600) * 1_000_000) - (random.percent(10) ? 1n : 0n),
      seq: BigInt((seq * 7919) % count),
      price,
      size: maybe(() => random.whole(0, 500) / 10),
      bid: maybe(() => price - random.whole(-3, 20) / 100),
      ask: maybe(() => price + random.whole(-3, 20) / 100),
      side: random.pick([1, -1, null]),
    });
  });
}

function grouped<K, T>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function near(t: Test, found: unknown, expected: number | null, what: string): void {
  if (expected === null) t.equal(found, null, what);
  else {
    const isNear = Math.abs((found as number) - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
    t.ok(typeof found === 'number' && isNear, `${what}: ${String(found)}, expected ${expected}`);
  }
}

function inOrder(a: TickDataRow, b: TickDataRow): number {
  const order = a.srcTs === b.srcTs ? a.seq - b.seq : a.srcTs - b.srcTs;
  return order < 0n ? -1 : 1;
}

async function barViews(t: Test, opened: OpenTestServer): Promise<void> {
  await t.test('tick_agg_1m, 5m and 1h show the bars of their interval', async (s) => {
    const client = await filled(s, opened, []);
    for (const [index, interval] of ['2s', '1m', '5m', '1h', '1d'].entries()) {
      await client.query(
        `INSERT INTO bars_ohlcv (provider, symbol, "interval", ts, open, high, low, close, volume, vwap, tick_count,
           first_ts, last_ts, is_final, revision)
         VALUES ('ibkr', 'NVDA', $1, $2, 1, 4, 0.5, 2, 10, 1.5, $3, $2, $2, true, 7)`,
        [interval, at(START), index],
      );
    }
    for (const [view, index] of [
      ['tick_agg_1m', 1],
      ['tick_agg_5m', 2],
      ['tick_agg_1h', 3],
    ] as const) {
      const { rows } = await client.query<Record<string, unknown>>(
        `SELECT provider, symbol, ${MICROS('bucket')}, open, high, low, close, volume, vwap, tick_count,
           first_ts = bucket AND last_ts = bucket AS times, is_final, revision FROM ${view}`,
      );
      const bucket = START.toString();
      const prices = { open: 1, high: 4, low: 0.5, close: 2, volume: 10, vwap: 1.5 };
      const state = { tick_count: String(index), times: true, is_final: true, revision: 7 };
      s.strictSame(rows, [{ provider: 'ibkr', symbol: 'NVDA', bucket, ...prices, ...state }], view);
    }
  });
}

async function spreads(t: Test, opened: OpenTestServer, random: Random): Promise<void> {
  await t.test('tick_spread_1m equals what is computed here, crossed quotes included', async (s) => {
    const ticks = [
      ...randomTicks(random, 800, 9_000, 11_000),
      // no basis points of a mid of 0, but a spread
      tick({ symbol: 'ZERO', bid: -1, ask: 1 }),
      tick({ symbol: 'NEGATIVE', price: -5, bid: -5.5, ask: -4.5 }),
      tick({ symbol: 'HUGE', bid: 1e308, ask: 1.5e308 }),
      tick({ symbol: 'HALF', bid: 1 }),
    ];
    const client = await filled(s, opened, ticks);
    const { rows } = await client.query<Record<string, unknown>>(
      `SELECT *, ${MICROS('bucket')} FROM tick_spread_1m`,
    );
    const quotes = ticks.flatMap(({ symbol, srcTs, bid, ask }) =>
      bid === null || ask === null ? [] : [{ symbol, minute: srcTs - (srcTs % MINUTE), bid, ask }],
    );
    const expected = grouped(quotes, ({ symbol, minute }) => `${symbol} ${minute}`);
    s.strictSame(
      new Set(rows.map(({ symbol, bucket }) => `${String(symbol)} ${String(bucket)}`)),
      new Set(expected.keys()),
    );
    s.ok(rows.some(({ crossed_count }) => crossed_count !== '0'));
    for (const row of rows) {
      const key = `${String(row['symbol'])} ${String(row['bucket'])}`;
      const group = expected.get(key) ?? [];
      const sorted = group.map(({ bid, ask }) => ask - bid).toSorted((a, b) => a - b);
      const middle = (sorted.length - 1) / 2;
      const bps = group.flatMap(({ bid, ask }) => {
        const mid = bid / 2 + ask / 2;
        return mid === 0 ? [] : [((ask - bid) / mid) * 10_000];
      });
      s.equal(row['provider'], PROVIDER);
      s.equal(row['tick_count'], String(group.length), key);
      s.equal(row['crossed_count'], String(group.filter(({ bid, ask }) => bid > ask).length), key);
      s.equal(row['spread_min'], sorted[0], key);
      s.equal(row['spread_max'], sorted.at(-1), key);
      near(s, row['spread_avg'], sum(sorted) / sorted.length, `${key} average`);
      near(
        s,
        row['spread_median'],
        sorted[Math.floor(middle)] / 2 + sorted[Math.ceil(middle)] / 2,
        `${key} median`,
      );
      near(s, row['spread_bps_avg'], bps.length === 0 ? null : sum(bps) / bps.length, `${key} bps`);
    }
  });
}

async function vwap(t: Test, opened: OpenTestServer, random: Random): Promise<void> {
  await t.test('tick_vwap is over [from, to), a null size counts 0, no volume is null', async (s) => {
    const ticks = [
      ...randomTicks(random, 500, -200, 1_000),
      tick({ symbol: 'QUIET', size: null }),
      tick({ symbol: 'QUIET', size: 0, seq: 1n }),
    ];
    const client = await filled(s, opened, ticks);
    const ask = async (symbol: string, from: string, to: string): Promise<unknown> =>
      (
        await client.query<{ vwap: unknown }>('SELECT tick_vwap($1, $2, $3, $4) AS vwap', [
          PROVIDER,
          symbol,
          from,
          to,
        ])
      ).rows[0].vwap;
    for (let round = 0; round < 20; round++) {
      const from = START + BigInt(random.whole(0, 500) * 1_000_000);
      const to = from + BigInt(random.whole(1, 200) * 1_000_000);
      const inside = ticks.filter((row) => row.symbol === 'SPY' && row.srcTs >= from && row.srcTs < to);
      const volume = sum(inside.map(({ size }) => size ?? 0));
      const amount = sum(inside.map(({ price, size }) => price * (size ?? 0)));
      near(
        s,
        await ask('SPY', at(from), at(to)),
        volume === 0 ? null : amount / volume,
        `${at(from)} to ${at(to)}`,
      );
    }
    s.equal(await ask('QUIET', '-infinity', 'infinity'), null, 'no volume');
    s.equal(await ask('SPY', at(START), at(START)), null, 'nothing lies in an empty interval');
    s.equal(
      await ask('spy', '-infinity', 'infinity'),
      await ask('SPY', '-infinity', 'infinity'),
      'as symbols are stored',
    );
  });
}

interface Bin {
  price_bin: number;
  volume: number;
  tick_count: string;
  buy_volume: number;
  sell_volume: number;
}

async function profile(client: Client, symbol: string, step: string): Promise<Bin[]> {
  const { rows } = await client.query<Bin>('SELECT * FROM volume_profile($1, $2, $3, $4, $5)', [
    PROVIDER,
    symbol,
    '-infinity',
    'infinity',
    step,
  ]);
  return rows;
}

async function profiles(t: Test, opened: OpenTestServer, random: Random): Promise<void> {
  await t.test('volume_profile equals what is computed here in cents', async (s) => {
    const ticks = randomTicks(random, 2_000, -300, 300).map((row) => ({ ...row, symbol: 'NVDA' }));
    const client = await filled(s, opened, ticks);
    for (const [step, stepCents] of [
      ['0.01', 1],
      ['0.07', 7],
      ['0.25', 25],
      ['1', 100],
      ['1000', 100_000],
    ] as const) {
      const bins = grouped(ticks, ({ price }) => Math.floor(Math.round(price * 100) / stepCents) * stepCents);
      const found = await profile(client, 'nvda', step);
      const lower = [...bins.keys()].sort((a, b) => a - b);
      s.strictSame(
        found.map(({ price_bin }) => price_bin),
        lower.map((cents) => cents / 100),
        `bins of ${step}`,
      );
      for (const [index, bin] of found.entries()) {
        const group = bins.get(lower[index]) ?? [];
        const volume = (side: 1 | -1 | null | 'any'): number =>
          sum(group.filter((row) => side === 'any' || row.side === side).map(({ size }) => size ?? 0));
        s.equal(bin.tick_count, String(group.length));
        near(s, bin.volume, volume('any'), `${step} volume of ${bin.price_bin}`);
        near(s, bin.buy_volume, volume(1), `${step} buys of ${bin.price_bin}`);
        near(s, bin.sell_volume, volume(-1), `${step} sells of ${bin.price_bin}`);
      }
    }
  });
}

async function profileEdges(t: Test, opened: OpenTestServer): Promise<void> {
  await t.test('a price on an edge is in the upper bin, whatever doubles make of the quotient', async (s) => {
    // 0.29 / 0.01 is 28.999999999999996 in doubles; 0.1 + 0.2 has 17 digits and lies above 0.3
    const prices = [0.29, 0.57, 1.15, -0.29, -0.3, 0.1 + 0.2, 4_503_599_627.37, 1e15 / 3, 5e-324, 1e300];
    const client = await filled(
      s,
      opened,
      prices.map((price, seq) => tick({ price, seq: BigInt(seq) })),
    );
    s.strictSame(
      (await profile(client, 'NVDA', '0.01')).map(({ price_bin }) => price_bin),
      [-0.3, -0.29, 0, 0.29, 0.3, 0.57, 1.15, 4_503_599_627.37, 333_333_333_333_333.3, 1e300],
    );
    const tenths = (await profile(client, 'NVDA', '0.1')).map(({ price_bin }) => price_bin);
    s.strictSame(tenths.slice(0, 5), [-0.3, 0, 0.2, 0.3, 0.5], '-0.29 and -0.3 share a bin');
    await client.query('SET extra_float_digits = 0');
    const exact = `SELECT count(*) AS n FROM volume_profile('ibkr', 'NVDA', '-infinity', 'infinity', 0.01)
      WHERE price_bin IN (0.3, 333333333333333.3)`;
    s.strictSame((await client.query(exact)).rows, [{ n: '2' }], 'also in a session that shows 15 digits');
    for (const step of ['0', '-1', 'NaN', 'Infinity']) {
      await s.rejects(
        profile(client, 'NVDA', step),
        { code: '22023', message: `step must be a number above 0, not ${step}` },
        step,
      );
    }
    await s.rejects(client.query("SELECT * FROM volume_profile('a', 'B', now(), now(), NULL)"), {
      code: '22023',
      message: 'step must be a number above 0, not null',
    });
  });
}

async function buckets(t: Test, opened: OpenTestServer, random: Random): Promise<void> {
  await t.test('tick_bars of any width, open and close by (ts, seq)', async (s) => {
    const ticks = randomTicks(random, 1_500, 100, 500);
    const client = await filled(s, opened, ticks);
    const begin = START + 30_000_000n;
    const end = START + 400_000_000n;
    for (const seconds of [1, 7, 60, 90, 3600]) {
      const width = BigInt(seconds) * 1_000_000n;
      const { rows } = await client.query<Record<string, unknown>>(
        `SELECT *, ${MICROS('bucket')} FROM tick_bars($1, $2, $3, $4, $5)`,
        [PROVIDER, 'SPY', `${seconds} seconds`, at(begin), at(end)],
      );
      const inside = ticks.filter((row) => row.symbol === 'SPY' && row.srcTs >= begin && row.srcTs < end);
      const groups = [
        ...grouped<bigint, TickDataRow>(inside.toSorted(inOrder), ({ srcTs }) => srcTs - (srcTs % width)),
      ];
      s.equal(rows.length, groups.length);
      for (const [index, [from, group]] of groups.entries()) {
        const row = rows[index];
        const prices = group.map(({ price }) => price);
        const volume = sum(group.map(({ size }) => size ?? 0));
        const amount = sum(group.map(({ price, size }) => price * (size ?? 0)));
        const { open, high, low, close, tick_count } = row;
        s.strictSame(
          { bucket: row['bucket'], open, high, low, close, tick_count },
          {
            bucket: from.toString(),
            open: prices[0],
            high: Math.max(...prices),
            low: Math.min(...prices),
            close: prices.at(-1),
            tick_count: String(group.length),
          },
        );
        near(s, row['volume'], volume, `volume of ${from}`);
        near(s, row['vwap'], volume === 0 ? null : amount / volume, `vwap of ${from}`);
      }
    }
    const ask = `SELECT * FROM tick_bars('ibkr', 'SPY', $1, '-infinity', 'infinity')`;
    for (const [bucket, told] of [
      ['0 seconds', '00:00:00'],
      ['-1 minute', '-00:01:00'],
      ['1 day -24 hours', '1 day -24:00:00'],
      ['1 month', '1 mon'],
      ['2 years 3 days', '2 years 3 days'],
      [null, 'null'],
    ] as const) {
      const message = `bucket must be a length of time above 0 without months or years, not ${told}`;
      await s.rejects(client.query(ask, [bucket]), { code: '22023', message }, String(bucket));
      const none = client.query(ask.replace('SPY', 'NONE'), [bucket]);
      await s.rejects(none, { code: '22023' }, `${bucket}, also where there is no tick`);
    }
    const days = await client.query<Record<string, unknown>>(
      `SELECT bucket::text, tick_count FROM tick_bars('ibkr', 'SPY', '30 days', '-infinity', 'infinity')`,
    );
    s.equal(days.rows.length, 1, 'days are 24 hours');
  });
}
