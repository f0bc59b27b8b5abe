import { tableFromIPC } from 'apache-arrow';
import { test } from 'tap';
import { createClient, microsOf, type MarketTick, type Tick } from '../../../src/client/exports.ts';
import { connect, parseDatabaseUrl } from '../../../src/store/postgres/connect.ts';
import { migrate } from '../../../src/store/schema/migrate.ts';
import { serveQueries } from '../../support/api/query-server.ts';
import { seededRandom } from '../../support/random.ts';
import { sharedPostgres } from '../../support/servers/postgres.ts';
import { TcpProxy } from '../../support/servers/proxy.ts';

const TICKS = 3_000;
/** 2026-01-01T00:00:00Z */
const FIRST = 1_767_225_600_000_000n;
const SPAN = { start: FIRST, end: '2027-01-01' } as const;

/** Several ticks a microsecond, with numbers that no double holds. */
const CONTENT = `
  INSERT INTO tick_data (provider, symbol, ts, seq, price, size)
  SELECT 'p', 'A', timestamptz '2026-01-01 00:00:00+00' + n / 3 * interval '1 microsecond', 9223372036854770000 + n, n / 8.0, nullif(n, 7)
    FROM generate_series(0, ${TICKS - 1}) n;
  INSERT INTO md_ticks (symbol, ts, source, seq, price, volume)
  VALUES ('W', '2026-01-01 00:00:00+00', 's', 1, 0.10000000000000000001, 0.10);
  INSERT INTO md_ranges (symbol, "window", agg)
  SELECT 'W', tstzrange(t, t + interval '1 minute'), '{"open": 1, "high": 2, "low": 1, "close": 2, "volume": 0.10, "count": 3}'
    FROM generate_series(timestamptz '2026-01-01 00:00:00+00', '2026-01-01 00:04:00+00', '1 minute') t;
  INSERT INTO job_runs (job_name, status) VALUES ('one', 'success'), ('two', 'failed')`;

/** Each row is one number: its seq says which. */
const numberOf = ({ seq }: Tick): number => Number(seq - 9_223_372_036_854_770_000n);

void test('the client against the server’s queries', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase();
  const database = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => database.end());
  await migrate(database);
  await database.query(CONTENT);
  const api = await serveQueries(t, url);
  const client = createClient({ url: api.url });
  const all = Array.from({ length: TICKS }, (_, n) => n);

  await t.test('every tick once and in order, over pages of any size', async (t) => {
    for (const limit of [7, 1000, 10_000]) {
      const seen: number[] = [];
      for await (const tick of client.range('A', { ...SPAN, limit })) seen.push(numberOf(tick));
      t.strictSame(seen, all, `pages of ${limit}`);
    }
    const newest: number[] = [];
    for await (const tick of client.recent('A', { limit: 999 })) newest.push(numberOf(tick));
    t.strictSame(newest, all.toReversed());
  });

  await t.test('a tick is whole: microseconds, 64 bits, all digits', async (t) => {
    const last: MarketTick = await client.latest('A', { provider: 'p' });
    t.equal(microsOf(last.ts), FIRST + BigInt(Math.floor((TICKS - 1) / 3)));
    t.match(last, { kind: 'market', seq: 9_223_372_036_854_770_000n + BigInt(TICKS - 1), bid: null });
    const { price, volume, seq } = await client.latest('w', { source: 's' });
    t.strictSame({ price, volume, seq }, { price: '0.10000000000000000001', volume: '0.10', seq: 1n });
  });

  await t.test('ranges of webhook ticks: one by one, the one at a time, all as one', async (t) => {
    const span = { symbol: 'W', start: '2026-01-01T00:01:30Z', end: '2026-01-01T00:03:00Z' };
    t.equal((await client.ranges(span).page()).items.length, 2);
    t.match(await client.rangeAt('W', FIRST + 59_999_999n), {
      start: '2026-01-01T00:00:00.000000Z',
      count: 3,
    });
    t.equal(await client.rangeAt('W', FIRST - 1n), null);
    t.match(await client.mergedRange(span), { count: 6, end: '2026-01-01T00:03:00.000000Z' });
  });

  await t.test('runs by number, and what is not there', async (t) => {
    const { items } = await client.jobs({ status: 'failed' }).page();
    t.match(items, [{ job_name: 'two', status: 'failed' }]);
    t.match(await client.job(items[0].id), { job_name: 'two' });
    await t.rejects(client.job(99), { code: 'not_found', status: 404 });
    await t.rejects(client.latest('NONE'), { code: 'not_found' });
    await t.rejects(client.transactions('ab').page(), { code: 'not_found' });
  });

  await t.test('mistakes are told with their place', async (t) => {
    const wrong = client.range('A', { start: 'soon', end: FIRST, limit: 5 });
    await t.rejects(wrong.page(), { code: 'bad_request', status: 400, details: [{ path: 'query.start' }] });
    const { next } = await client.range('A', { ...SPAN, limit: 5 }).page();
    await t.rejects(client.recent('A', { limit: 5 }).page(next as string), { code: 'bad_request' });
    const error = (await client.job(99).catch((error: unknown) => error)) as { requestId: string };
    t.match(error.requestId, /^[\w-]{8,}$/);
  });

  await t.test('the same rows as Arrow, CSV and NDJSON; a page of them, and the next', async (t) => {
    const { body, contentType } = await client.range('A', SPAN).as('arrow');
    t.equal(contentType, 'application/vnd.apache.arrow.stream');
    const table = tableFromIPC(await new Response(body).arrayBuffer());
    t.equal(table.numRows, TICKS);
    t.equal(table.getChild('seq')?.get(TICKS - 1), 9_223_372_036_854_770_000n + BigInt(TICKS - 1));
    const lines = (await new Response((await client.range('A', SPAN).as('ndjson')).body).text())
      .trimEnd()
      .split('\n');
    t.equal(lines.length, TICKS);
    const pages = client.range('A', { ...SPAN, limit: 2000 });
    const first = await pages.as('csv');
    t.equal((await new Response(first.body).text()).trimEnd().split('\r\n').length, 2001);
    const second = await pages.as('csv', first.next as string);
    t.equal((await new Response(second.body).text()).trimEnd().split('\r\n').length, 1001);
    t.equal(second.next, null);
  });

  await t.test('cut again and again, it has each tick once', async (t) => {
    const random = seededRandom();
    t.comment(`SEED=${random.seed}`);
    const proxy = await TcpProxy.start(new URL(api.url).host, random);
    t.after(() => proxy.stop());
    // a page of 100 takes several pieces, so that some are cut in the middle of a page
    proxy.toClient.jitterMs = 2;
    const seen: number[] = [];
    let cuts = 0;
    const patient = createClient({ url: `http://${proxy.address}`, attemptsMax: 10 });
    for await (const tick of patient.range('A', { ...SPAN, limit: 100 })) {
      seen.push(numberOf(tick));
      if (seen.length % 100 !== 1 || cuts >= 20) continue;
      cuts += 1;
      setTimeout(() => proxy.cutAll(), random.whole(0, 10));
    }
    t.strictSame(seen, all);
    t.ok(proxy.counts.cut > 0, `${proxy.counts.cut} connections were cut`);
  });

  await t.test('a reader that goes away ends the query', async (t) => {
    const { body } = await client.range('A', SPAN).as('csv');
    await body.cancel();
    const controller = new AbortController();
    const listing = client.range('A', { ...SPAN, limit: 10, signal: controller.signal });
    const reason = new Error('enough');
    await t.rejects(async () => {
      for await (const tick of listing) if (numberOf(tick) === 15) controller.abort(reason);
    }, reason);
  });
});
