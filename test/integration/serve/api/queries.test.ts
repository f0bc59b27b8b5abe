import { tableFromIPC } from 'apache-arrow';
import type { Client } from 'pg';
import type { Test } from 'tap';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { CONTENT, ODD } from '../../../support/api/content.ts';
import { serveQueries, type QueryServer } from '../../../support/api/query-server.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';
import type { OpenTestServer } from '../../../support/servers/postgres.ts';
import { parseCsv } from '../../../support/table/csv.ts';

interface Opened {
  api: QueryServer;
  client: Client;
}

async function open(t: Test, server: OpenTestServer): Promise<Opened> {
  const url = await server.createDatabase({ schema: false });
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => client.end());
  await migrate(client);
  for (const sql of CONTENT) await client.query(sql);
  return { client, api: await serveQueries(t, url) };
}

/** Every list, and how many items it has. */
const LISTS: [string, number][] = [
  ['/v1/ticks/BTC/range?start=2025-10-31T10:00:00Z', 20],
  ['/v1/ticks/BTC/range?start=2025-10-31T10:00:00.000001Z&end=2025-10-31T10:00:00.000003Z', 12],
  ['/v1/ticks/btc/range?start=1761904800000001&end=1761904800000003&provider=binance', 6],
  ['/v1/ticks/BTC/range?start=2025-10-31&kind=webhook', 7],
  ['/v1/ticks/BTC/range?start=2025-10-31&source=feeder1', 3],
  ['/v1/ticks/WEB/range?start=2025-10-31T10:01:00&end=2025-10-31T10:03:00', 3],
  ['/v1/ticks/NONE/range?start=2025-10-31', 0],
  ['/v1/ticks/NONE/range?start=2025-10-31&kind=market', 0],
  [`/v1/ticks/${encodeURIComponent(ODD)}/range?start=2025-10-31`, 1],
  ['/v1/ticks/BTC/recent', 20],
  ['/v1/ticks/BTC/recent?provider=coin%2C%22base', 10],
  ['/v1/ticks/WEB/recent', 7],
  ['/v1/symbols', 4],
  ['/v1/symbols?provider=binance', 2],
  ['/v1/symbols?provider=nobody', 0],
  ['/v1/symbols?kind=webhook', 2],
  ['/v1/bars?provider=binance&symbol=BTC', 7],
  ['/v1/bars?provider=binance&symbol=BTC&interval=5m&order=desc', 7],
  ['/v1/bars?provider=binance&symbol=BTC&start=2025-10-31T10:01:00Z&end=2025-10-31T10:03:00Z', 2],
  ['/v1/bars?provider=binance&symbol=BTC&run=7', 4],
  ['/v1/bars/history?provider=binance&symbol=BTC', 4],
  ['/v1/bars/history?provider=binance&symbol=BTC&order=desc', 4],
  ['/v1/signals?provider=binance&symbol=BTC', 8],
  ['/v1/signals?provider=binance&symbol=BTC&run=7&order=asc', 8],
  ['/v1/signals?provider=binance&symbol=BTC&name=name1', 4],
  ['/v1/signals?name=name1', 8],
  ['/v1/signals?name=name1&order=asc&start=2025-10-31T10:00:01Z&end=2025-10-31T10:00:03Z', 4],
  ['/v1/ranges?symbol=WEB&start=2025-10-31T10:00:30Z&end=2025-10-31T10:05:00Z', 4],
  ['/v1/ranges?symbol=WEB&start=2025-10-31T10:00:30Z&end=2025-10-31T10:00:30Z', 0],
  ['/v1/ranges?symbol=WEB&start=2025-10-31&end=2025-11-01', 5],
  ['/v1/chain/ticks', 8],
  ['/v1/chain/ticks?from=2&to=7', 4],
  ['/v1/gaps', 3],
  ['/v1/gaps?state=open', 1],
  ['/v1/gaps?from=30&to=31', 1],
  ['/v1/dead-letters', 2],
  ['/v1/dead-letters?status=open&reason=wire', 1],
  ['/v1/jobs', 3],
  ['/v1/jobs?name=tick_consumer&status=failed', 1],
];

testOnServers('queries over HTTP', async (t, server) => {
  const { api } = await open(t, server);

  await t.test('pages of any size hold the same items as the whole, in every format', async (t) => {
    for (const [path, count] of LISTS) {
      const more = path.includes('?') ? '&' : '?';
      const whole = await api.items(path, 10_000);
      t.equal(whole.length, count, path);
      t.strictSame(await api.items(path, 3), whole, `${path} by threes`);
      t.strictSame(await api.items(path, 1), whole, `${path} one by one`);
      const lines = await (await api.get(`${path}${more}format=ndjson`)).text();
      t.strictSame(
        lines
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as unknown),
        whole,
        `${path} as NDJSON`,
      );
      const csv = await api.get(path, { accept: 'text/csv' });
      t.match(csv.headers.get('content-type'), /^text\/csv; charset=utf-8/);
      const [header, ...rows] = parseCsv(await csv.text());
      t.equal(rows.length, count, `${path} as CSV`);
      for (const [at, item] of whole.entries())
        for (const [column, name] of (header ?? []).entries())
          sameText(t, item[name ?? ''], rows[at][column]);
      const arrow = await api.get(path, { accept: 'application/vnd.apache.arrow.stream' });
      const table = tableFromIPC(await arrow.arrayBuffer());
      t.equal(table.numRows, count, `${path} as Arrow`);
      t.strictSame(
        table.schema.fields.map(({ name }) => name),
        header,
      );
    }
  });

  await t.test('a page in another format names the next one', async (t) => {
    const whole = await api.items('/v1/bars?provider=binance&symbol=BTC');
    const texts: (string | null)[][] = [];
    let path: string | undefined = '/v1/bars?provider=binance&symbol=BTC&limit=3&format=csv';
    for (let pages = 0; path !== undefined; pages += 1) {
      const answer: Response = await api.get(path);
      texts.push(...parseCsv(await answer.text()).slice(1));
      path = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      if (pages > 3) throw new Error('pages without an end');
    }
    t.strictSame(
      texts.map((row) => row[3]),
      whole.map(({ ts }) => ts),
    );
  });

  await t.test('values arrive as they are stored', async (t) => {
    const [first, second] = await api.items('/v1/ticks/BTC/range?start=2025-10-31&provider=binance');
    t.strictSame(first, {
      kind: 'market',
      provider: 'binance',
      symbol: 'BTC',
      ts: '2025-10-31T10:00:00.000000Z',
      price: 100,
      size: null,
      bid: null,
      ask: null,
      side: null,
      seq: '9007199254740993',
    });
    t.strictSame(second, { ...first, price: 100.125, size: 1, bid: 0.1, side: -1, seq: '9007199254740994' });
    const [, tick] = await api.items('/v1/ticks/WEB/range?start=2025-10-31');
    t.strictSame(tick, {
      kind: 'webhook',
      source: 'feeder1',
      symbol: 'WEB',
      ts: '2025-10-31T10:01:00.000000Z',
      price: '1001.10',
      volume: '0.00000000000000000001',
      seq: '1',
    });
    const [signal] = await api.items('/v1/signals?provider=binance&symbol=BTC&name=name1&order=asc');
    t.match(signal, { value: 1, score: 1, metadata: { w: 1 }, replay_run_id: 0 });
    const text = await (await api.get('/v1/signals?name=name1&limit=1')).text();
    t.match(text, /"big": 9007199254740993/, 'JSON that is stored keeps its digits');
    t.match(await api.json('/v1/jobs/1'), { id: 1, symbols: ['A', 'B "'], metadata: { a: 1 } });
    const [conflict, wire] = await api.items('/v1/dead-letters');
    t.match(wire, { tick_number: '18446744073709551615', bytes: 2, detail: 'a "b"', raw_sha256: 'aa' });
    t.match(conflict, { tick_number: null, after_tick: '3', status: 'resolved' });
  });

  await t.test('the newest tick is that of both tables, or of the one that is asked', async (t) => {
    t.match(await api.json('/v1/ticks/BTC/latest'), { kind: 'webhook', ts: '2025-10-31T10:06:00.000000Z' });
    t.match(await api.json('/v1/ticks/BTC/latest?kind=market'), {
      provider: 'coin,"base',
      seq: '9007199254741002',
    });
    t.match(await api.json('/v1/ticks/BTC/latest?provider=binance'), { provider: 'binance' });
    t.match(await api.json('/v1/ticks/BTC/latest?source=feeder1'), { source: 'feeder1', seq: '5' });
    t.match(await api.json('/v1/ticks/WEB/latest'), { kind: 'webhook', symbol: 'WEB' });
    t.match(await api.json('/v1/ticks/ETH/latest'), { kind: 'market', price: 5 });
    for (const path of [
      '/v1/ticks/NONE/latest',
      '/v1/ticks/WEB/latest?kind=market',
      '/v1/ticks/BTC/latest?provider=nobody',
    ])
      t.equal((await api.get(path)).status, 404, path);
    t.equal(
      (await api.get('/v1/ticks/WEB/latest', { accept: 'text/csv' })).headers
        .get('content-type')
        ?.slice(0, 8),
      'text/csv',
    );
  });

  await t.test('ranges: the one at a time, and several as one', async (t) => {
    const at = async (time: string): Promise<unknown[]> => api.items(`/v1/ranges?symbol=WEB&at=${time}`);
    t.match(await at('2025-10-31T10:02:59.999999Z'), [
      { start: '2025-10-31T10:02:00.000000Z', open: 1002, count: 3 },
    ]);
    t.strictSame(await at('2025-10-31T10:03:00Z'), [], 'there is none');
    t.match(await at('2025-10-31T10:00:00Z'), [{ high: '1001.50', volume: 0.1 }]);
    const merged = '/v1/ranges?symbol=WEB&start=2025-10-31T10:01:30Z&end=2025-10-31T10:05:00Z&merge=true';
    t.strictSame(await api.items(merged), [
      {
        symbol: 'WEB',
        start: '2025-10-31T10:01:00.000000Z',
        end: '2025-10-31T10:05:00.000000Z',
        open: 1001,
        high: '1005.50',
        low: 986,
        close: 1004.5,
        volume: 0.3,
        count: 10,
      },
    ]);
    t.strictSame(await api.items(merged.replace('WEB', 'NONE')), []);
    const answer = await api.get(merged);
    const etag = answer.headers.get('etag') ?? '';
    t.equal((await api.get(merged, { 'if-none-match': etag })).status, 304);
  });

  await t.test('the chain: ticks with proof and transactions, kept where they cannot change', async (t) => {
    const places = async (hash: string): Promise<Record<string, unknown>[]> =>
      ((await api.json(`/v1/chain/transactions/${hash}`)) as { items: Record<string, unknown>[] }).items;
    const answer = await api.get('/v1/chain/ticks/5');
    t.equal(answer.headers.get('cache-control'), 'private, max-age=31536000, immutable');
    t.strictSame(await answer.json(), {
      tick_number: '5',
      timestamp: '2025-10-31T10:00:05.000000Z',
      batch_hash: 'aa5',
      previous_output: 'out4',
      vdf_input: 'in5',
      vdf_output: 'out5',
      vdf_proof: 'proof5',
      vdf_iterations: '5',
      transactions: [
        {
          ...(await places('ab12'))[1],
          tx_id: null,
          tx_id_hex: '00',
          payload: '',
          nonce: '0',
          timestamp_us: '18446744073709551614',
        },
        ...(await places('cd34')),
      ],
    });
    const etag = answer.headers.get('etag') ?? '';
    const again = await api.get('/v1/chain/ticks/5', { 'if-none-match': `W/"x", ${etag}` });
    t.equal(again.status, 304);
    t.equal(await again.text(), '');
    const above = await api.get('/v1/chain/ticks/7');
    t.equal(above.headers.get('cache-control'), 'private, no-cache', 'above the open gap');
    t.equal((await api.get('/v1/chain/ticks/6')).status, 404);
    t.match(await api.items('/v1/chain/ticks?from=4&to=5'), [
      { previous_output: 'out3', timestamp: '2025-10-31T10:00:04.000000Z' },
    ]);
    t.match(await places('ab12'), [
      { tick_number: '2', nonce: '18446744073709551615', payload: '00ff', tx_id: 'tx', tx_id_hex: '7478' },
      { tick_number: '5' },
    ]);
    t.equal((await api.get('/v1/chain/transactions/ee')).status, 404);
  });

  await t.test('what cannot be answered is refused with the place of the mistake', async (t) => {
    const bars = '/v1/bars?provider=binance&symbol=BTC';
    const { next } = (await api.json(`${bars}&limit=2`)) as { next: string };
    const refusals: [string, number, string][] = [
      [`/v1/bars?provider=binance&symbol=ETH&cursor=${next}`, 400, 'query.cursor'],
      [`${bars}&cursor=${next}x`, 400, 'query.cursor'],
      [`${bars}&cursor=${Buffer.from('{"of":1}').toString('base64url')}`, 400, 'query.cursor'],
      [`${bars}&limit=0`, 400, 'query.limit'],
      [`${bars}&limit=10001`, 400, 'query.limit'],
      [`${bars}&limit=1&limit=2`, 400, 'query.limit'],
      [`${bars}&other=1`, 400, 'query'],
      [`${bars}&start=yesterday`, 400, 'query.start'],
      [`${bars}&interval=1y`, 400, 'query.interval'],
      ['/v1/bars?symbol=BTC', 400, 'query.provider'],
      ['/v1/ticks/BTC/range', 400, 'query.start'],
      ['/v1/ticks/BTC/latest?provider=a&source=b', 400, 'query.source'],
      ['/v1/ticks/BTC/latest?provider=a&kind=webhook', 400, 'query.provider'],
      ['/v1/ticks/a%7Cb/latest', 400, 'params.symbol'],
      ['/v1/signals?provider=binance', 400, 'query.symbol'],
      ['/v1/ranges?symbol=WEB', 400, 'query.start'],
      ['/v1/ranges?symbol=WEB&at=2025-10-31&merge=true', 400, 'query.merge'],
      ['/v1/chain/ticks/9223372036854775808', 400, 'params.number'],
      ['/v1/jobs/x', 400, 'params.id'],
    ];
    for (const [path, status, place] of refusals) {
      const answer = await api.get(path);
      const body = (await answer.json()) as { error: { code: string; details: { path: string }[] } };
      t.equal(answer.status, status, path);
      t.equal(body.error.details[0]?.path, place, path);
    }
    t.equal((await api.get(bars, { accept: 'text/html' })).status, 406);
    t.equal((await api.get('/v1/chain/ticks/5', { accept: 'text/csv' })).status, 406);
    t.equal((await api.get(bars, { accept: 'text/html, */*;q=0.1' })).status, 200);
    t.equal((await api.get('/v1/jobs/99')).status, 404);
  });

  await t.test('texts that would be SQL are texts', async (t) => {
    for (const evil of [`'; DROP TABLE ticks; --`, `\\'; SELECT 1; --`, `$$`, `E'\\x'`, `' OR ''='`]) {
      const text = encodeURIComponent(evil);
      t.strictSame(await api.items(`/v1/ticks/${text}/range?start=2025-10-31`), [], evil);
      t.strictSame(await api.items(`/v1/signals?name=${text}`), [], evil);
      t.strictSame(await api.items(`/v1/dead-letters?reason=${text}`), [], evil);
    }
    t.equal((await api.items('/v1/chain/ticks')).length, 8);
  });

  await t.test('HEAD says what GET would, without the rows', async (t) => {
    for (const [path] of LISTS.slice(0, 3)) {
      const answer = await fetch(`${api.url}${path}`, { method: 'HEAD', headers: { accept: 'text/csv' } });
      t.equal(answer.status, 200);
      t.match(answer.headers.get('content-type'), /^text\/csv/);
      t.equal(await answer.text(), '');
    }
  });
});

/** A field of CSV says the same as the member of the item. */
function sameText(t: Test, value: unknown, text: string | null): void {
  if (value === null) t.equal(text, null);
  else if (typeof value === 'object') t.strictSame(JSON.parse(text ?? ''), value);
  else t.equal(text, String(value as string | number | boolean));
}

function known(kind: string, ts: bigint): { ts: bigint; json: string } {
  return { ts, json: `{"kind":"${kind}"}` };
}

testOnServers('the newest tick is taken from memory where it is known there', async (t, server) => {
  const url = await server.createDatabase({ schema: false });
  const own = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => own.end());
  await migrate(own);
  await own.query(`INSERT INTO tick_data (provider, symbol, ts, price) VALUES ('p', 'B', now(), 1)`);
  const asked: unknown[] = [];
  const api = await serveQueries(t, url, {
    latest: {
      get: (kind, provider, symbol) => {
        asked.push([kind, provider, symbol]);
        if (symbol === 'A') return known(kind, kind === 'market' ? 1n : 2n);
        return symbol === 'B' && kind === 'market' ? known(kind, 1n) : null;
      },
    },
  });
  t.strictSame(await api.json('/v1/ticks/A/latest'), { kind: 'webhook' }, 'the newer one of both');
  t.strictSame(await api.json('/v1/ticks/A/latest?provider=p'), { kind: 'market' });
  t.strictSame(await api.json('/v1/ticks/a/latest?source=s'), { kind: 'webhook' });
  t.strictSame(asked.splice(0), [
    ['market', null, 'A'],
    ['webhook', null, 'A'],
    ['market', 'p', 'A'],
    ['webhook', 's', 'A'],
  ]);
  t.match(
    await api.json('/v1/ticks/B/latest'),
    { price: 1 },
    'one table is not known: the database is asked',
  );
  t.match(
    await (await api.get('/v1/ticks/B/latest?kind=market&format=csv')).text(),
    /^kind,provider/,
    'memory has JSON alone',
  );
});
