import { after, test } from 'tap';
import { formatMicros } from '../../../../src/core/time.ts';
import { parsePlace } from '../../../../src/serve/live/ticks/place.ts';
import { ChangeIds } from '../../../../src/serve/live/changes/place.ts';
import { startPostgresBus, withClient } from '../../../support/bus/postgres-bus.ts';
import { FileCheckpoints } from '../../../support/bus/file-checkpoints.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { SseClient } from '../../../support/live/sse.ts';
import { startLive } from '../../../support/live/server.ts';
import { seededRandom } from '../../../support/random.ts';
import { until } from '../../../support/until.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const server = await startPostgresBus();
const folder = mkdtempSync(join(tmpdir(), 'live-marks-'));
after(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});
const url = server.opener.address;
const openBus = () =>
  server.open({
    partitions: {},
    maxBytes: 2 ** 31,
    clientName: 'live-test',
    checkpoints: new FileCheckpoints(folder),
    env: testEnv(),
  });

function at(second: number): string {
  return formatMicros(START_US + BigInt(second) * 1_000_000n);
}

function values({ events }: SseClient): number[] {
  return events.map(({ data }) => (JSON.parse(data) as { value: number }).value);
}

const MINUTE_US = 60_000_000n;
const START_US = 1_761_000_000_000_000n;

/** A bar of one price. */
const UPSERT_BAR = `INSERT INTO bars_ohlcv AS b (provider, symbol, "interval", ts, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final)
  VALUES ('sim', $1, '1m', $2::timestamptz, $3, $3, $3, $3, 1, 1, $2::timestamptz, $2::timestamptz, true)
  ON CONFLICT (provider, symbol, "interval", ts) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, revision = b.revision + 1, tx = pg_current_xact_id()`;

const SIGNAL = `INSERT INTO signals (provider, symbol, ts, name, value, replay_run_id) VALUES ('sim', $1, $2::timestamptz, $3, $4, $5)`;

void test('bars: history, then each change, across cuts, restarts and transactions that commit late', async (t) => {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const bus = await openBus();
  let live = await startLive(bus, url);
  await withClient(url, (client) =>
    withClient(url, async (slow) => {
      for (let minute = 0; minute < 3000; minute++)
        await client.query(UPSERT_BAR, [
          random.pick(['A', 'B', 'C']),
          formatMicros(START_US + BigInt(minute) * MINUTE_US),
          minute + 1,
        ]);
      const path = `/v1/stream?topic=bars&from=${formatMicros(START_US)}`;
      let client_ = new SseClient(`${live.url}${path}`);
      await client_.connect();
      const all: { data: string }[] = [];
      let last: string | null = null;
      for (let cut = 0; cut < 10; cut++) {
        await slow.query('BEGIN');
        await slow.query(UPSERT_BAR, [
          'A',
          formatMicros(START_US + BigInt(random.whole(0, 2999)) * MINUTE_US),
          7000 + cut,
        ]);
        for (let count = random.whole(1, 30); count > 0; count--)
          await client.query(UPSERT_BAR, [
            random.pick(['B', 'C']),
            formatMicros(START_US + BigInt(random.whole(0, 3999)) * MINUTE_US),
            random.whole(1, 5000),
          ]);
        if (random.percent(50))
          await until('something came', () => client_.events.length > 0 || client_.hasEnded);
        client_.cut();
        all.push(...client_.events);
        last = client_.lastId ?? last;
        if (cut === 4) {
          await live.close();
          live = await startLive(bus, url);
        }
        await slow.query('COMMIT');
        client_ = new SseClient(`${live.url}${path}`, last === null ? {} : { 'last-event-id': last });
        await client_.connect();
        t.equal(client_.status, 200);
      }
      const { rows } = await client.query<{ key: string; close: number; revision: number }>(
        `SELECT symbol || to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS key, close, revision FROM bars_ohlcv`,
      );
      const newest = (): Map<string, string> => {
        const found = new Map<string, string>();
        for (const { data } of [...all, ...client_.events]) {
          const { symbol, ts, close, revision } = JSON.parse(data) as Record<string, string>;
          found.set(`${symbol}${ts}`, `${close} ${revision}`);
        }
        return found;
      };
      await until(
        'the client has the newest of each',
        () => {
          const known = newest();
          return rows.every(({ key, close, revision }) => known.get(key) === `${close} ${revision}`);
        },
        {
          pollMs: 200,
          deadlineMs: 15_000,
          context: () =>
            `${newest().size} of ${rows.length}, ended ${client_.hasEnded}, ${client_.events.length} events, id ${client_.lastId}`,
        },
      );
      t.equal(newest().size, rows.length);
      const versions = [...all, ...client_.events].map(({ data }) => {
        const { symbol, ts, revision } = JSON.parse(data) as Record<string, string>;
        return `${symbol}${ts} ${revision}`;
      });
      t.equal(new Set(versions).size, versions.length, 'no version comes twice');
      client_.cut();
    }),
  );
  await live.close();
  await bus.close();
});

void test('signals: live ones alone, filtered by symbol and expression', async (t) => {
  const bus = await openBus();
  const live = await startLive(bus, url);
  await withClient(url, async (client) => {
    for (let n = 0; n < 100; n++)
      await client.query(SIGNAL, [
        n % 2 === 0 ? 'A' : 'B',
        at(n),
        n % 3 === 0 ? 'rsi' : 'vwap',
        n,
        n % 10 === 0 ? 7 : 0,
      ]);
    const where = encodeURIComponent('value >= 50.0');
    const one = new SseClient(`${live.url}/v1/stream?topic=signals&symbols=a&where=${where}&from=${at(0)}`);
    const now = new SseClient(`${live.url}/v1/stream?topic=signals`);
    await Promise.all([one.connect(), now.connect()]);
    const wanted = [...Array(100).keys()].filter((n) => n % 2 === 0 && n >= 50 && n % 10 !== 0);
    await until('history', () => one.events.length >= wanted.length);
    for (let n = 100; n < 120; n++) await client.query(SIGNAL, ['A', at(n), 'rsi', n, 0]);
    await until('live', () => one.events.length >= wanted.length + 20 && now.events.length >= 20);
    const later = [...Array(20).keys()].map((n) => 100 + n);
    t.same(values(one), [...wanted, ...later]);
    t.same(values(now), later);
    one.cut();
    now.cut();
  });
  await live.close();
  await bus.close();
});

void test('what is no id is refused, and what is not understood', async (t) => {
  const bus = await openBus();
  const live = await startLive(bus, url);
  const forged = [
    't1b~AAAAAAAA~a.b~1.1~zz',
    't1b~AAAAAAAA~a.0~~',
    't1h~x~y~z~1~~',
    't1b~k3LEcO6t~1.2~-5.3~a',
    't1b~k3LEcO6t~1.2~5.3_4.4~a',
    `t1b~${'9'.repeat(5000)}`,
    'b1h~~1~',
    'garbage',
    '{"__proto__":1}',
    't1h~k3LEcO6t~1.1~~1~~1.1.JyBPUiAxPTE',
  ];
  for (const id of forged) {
    const client = new SseClient(`${live.url}/v1/stream?topic=ticks`, { 'last-event-id': id });
    await client.connect();
    if (client.status === 200) {
      await until('it is told', () => client.events.length > 0 || client.hasEnded);
      t.same(
        client.events.map(({ event }) => event),
        ['gap'],
        id,
      );
    } else {
      t.equal(client.status, 400, id);
      await until('it ends', () => client.hasEnded);
      t.equal((JSON.parse(client.body) as { error: { code: string } }).error.code, 'bad_request');
    }
    client.cut();
  }
  for (const query of [
    'topic=tick',
    'topic=ticks&from=yesterday',
    'topic=ticks&where=price%20%3E',
    'topic=ticks&where=symbol.matches(%22a%22)',
    'topic=ticks&x=1',
    'topic=chain&from=t1f~5',
  ]) {
    const client = new SseClient(`${live.url}/v1/stream?${query}`);
    await client.connect();
    t.equal(client.status, 400, query);
    client.cut();
  }
  t.throws(() => parsePlace('b1h~~1~', 1));
  t.throws(() => new ChangeIds('b').parse('s1h~~1~'));
  await live.close();
  await bus.close();
});

void test('tickets are good once; a connection ends when its credential is revoked', async (t) => {
  const bus = await openBus();
  let isValid = true;
  const live = await startLive(bus, url, { heartbeatMs: 50, isValid: () => isValid });
  const headers = { authorization: 'Bearer some-token' };
  const answer = await fetch(`${live.url}/v1/tickets`, { method: 'POST', headers });
  t.equal(answer.status, 201);
  const { ticket, expires_in } = (await answer.json()) as { ticket: string; expires_in: number };
  t.equal(expires_in, 30);
  const one = new SseClient(`${live.url}/v1/stream?topic=signals&ticket=${ticket}`);
  await one.connect();
  t.equal(one.status, 200);
  const again = new SseClient(`${live.url}/v1/stream?topic=signals&ticket=${ticket}`);
  await again.connect();
  t.equal(again.status, 401, 'once');
  await until('a heartbeat', () => one.heartbeats > 0 && one.lastId !== null);
  const socket = new WebSocket(`${live.url.replace('http', 'ws')}/v1/ws?topic=signals`);
  const messages: { id: string; event: string; data: { value?: number } }[] = [];
  socket.addEventListener('message', ({ data }) =>
    messages.push(JSON.parse(data as string) as (typeof messages)[number]),
  );
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  await until('it is kept alive', () => messages.some(({ event }) => event === 'heartbeat'));
  await withClient(url, async (client) => {
    for (let n = 0; n < 300; n++)
      await client.query(SIGNAL, ['W', formatMicros(START_US + BigInt(n)), 'x', n, 0]);
  });
  const signals = () => messages.filter(({ event }) => event === 'signal').map(({ data }) => data.value);
  await until('messages', () => signals().length >= 300);
  t.same(signals(), [...Array(300).keys()]);
  isValid = false;
  await until('it ends', () => one.hasEnded);
  t.equal(socket.readyState, WebSocket.OPEN, 'it came without a token');
  socket.close();
  await live.close();
  await bus.close();
});
