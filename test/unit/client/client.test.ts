import { test } from 'tap';
import { createClient, isoOf, microsOf, type Client } from '../../../src/client/exports.ts';
import { failure, json, ScriptedFetch, type Answer } from './scripted-fetch.ts';

function clientOf(...answers: Answer[]): { script: ScriptedFetch; client: Client } {
  const script = new ScriptedFetch(...answers);
  return { script, client: createClient({ url: 'http://server', fetch: script.fetch, random: () => 0 }) };
}

const pathOf = ({ sent }: ScriptedFetch): string => sent[0].url.pathname + sent[0].url.search;

void test('numbers of 64 bits come whole, and times to the microsecond', async (t) => {
  const tick = { kind: 'market', symbol: 'A', ts: '2026-01-01T00:00:00.000001Z', seq: '9223372036854775807' };
  const { script, client } = clientOf(json(tick));
  const latest = await client.latest('SPX   141122P/19', { provider: 'ibkr' });
  t.equal(latest.seq, 9223372036854775807n);
  t.equal(microsOf(latest.ts), 1767225600000001n);
  t.equal(isoOf(1767225600000001n), latest.ts);
  t.equal(pathOf(script), '/v1/ticks/SPX%20%20%20141122P%2F19/latest?provider=ibkr');

  const gap = { gap_id: 1, first_tick: '1', last_tick: '9007199254740993', closed_at: null };
  const gaps = clientOf(json({ items: [gap], next: null }));
  t.match((await gaps.client.gaps({ from: 2n ** 62n }).page()).items, [
    { last_tick: 9007199254740993n, closed_at: null },
  ]);
  t.equal(pathOf(gaps.script), '/v1/gaps?from=4611686018427387904');

  const whole = { tick_number: '5', vdf_iterations: '27', transactions: [{ nonce: '18446744073709551615' }] };
  const chain = clientOf(json(whole));
  t.match(await chain.client.chainTick(5), {
    tick_number: 5n,
    transactions: [{ nonce: 18446744073709551615n }],
  });
});

void test('ticks that are sent again are the same request', async (t) => {
  const { script, client } = clientOf(
    failure(503, 'unavailable', { 'retry-after': '0' }),
    json({ accepted: 2 }),
  );
  const tick = {
    symbol: 'A',
    ts: 1767225600000001n,
    price: '1.10',
    volume: 2,
    source: 's',
    seq: 2n ** 53n + 1n,
  };
  const { seq: _seq, ...plain } = tick;
  t.strictSame(await client.ingest([tick, { ...plain, ts: '2026-01-01' }]), { accepted: 2 });
  const [first, second] = script.sent;
  t.equal(first.body, second.body);
  t.strictSame(JSON.parse(first.body as string), [
    {
      symbol: 'A',
      price: '1.10',
      volume: 2,
      source: 's',
      ts: '2026-01-01T00:00:00.000001Z',
      seq: '9007199254740993',
    },
    { symbol: 'A', price: '1.10', volume: 2, source: 's', ts: '2026-01-01' },
  ]);
  t.match(first, { method: 'POST', headers: { 'content-type': 'application/json' } });
});

void test('events are handed out by kind; what was missed is told, or thrown', async (t) => {
  const text = [
    'id: 1\nevent: tick\ndata: {"symbol":"A","seq":"7"}\n\n',
    'event: lagged\ndata: {"missed":3}\n\n',
    'id: 2\nevent: of-a-newer-server\ndata: {}\n\n',
    'id: 3\nevent: tick\ndata: {"symbol":"B","seq":"8"}\n\n',
  ].join('');
  const { script, client } = clientOf(new Response(text), new Response(text));
  const seen: unknown[] = [];
  for await (const event of client.live({
    topic: 'ticks',
    symbols: ['A', 'B'],
    where: 'price > 1',
    from: 5n,
  })) {
    seen.push(event);
    if (event.id === '3') break;
  }
  t.strictSame(seen, [
    { event: 'tick', id: '1', item: { symbol: 'A', seq: 7n } },
    { event: 'lagged', id: null, loss: { missed: 3 } },
    { event: 'tick', id: '3', item: { symbol: 'B', seq: 8n } },
  ]);
  t.equal(pathOf(script), '/v1/stream?topic=ticks&symbols=A%2CB&where=price+%3E+1&from=5');
  const strict = client.live({ topic: 'ticks', losses: 'throw' });
  await strict.next();
  await t.rejects(strict.next(), { code: 'gone', message: /missed/ });
});

void test('an error ends the feed: it holds no connection', async (t) => {
  const { script, client } = clientOf(new Response('id: 1\nevent: tick\ndata: {no json\n\n'));
  const feed = client.live({ topic: 'ticks' });
  await t.rejects(feed.next(), { code: 'bad_answer' });
  t.ok(script.sent[0].signal.aborted);
  t.strictSame(await feed.next(), { done: true, value: undefined });
});
