import { test } from 'tap';
import type { Scope } from '../../../../src/serve/api/access.ts';
import { errorOf, startApi, type Answer, type TestApi } from '../../../support/api/server.ts';

const STORED: Readonly<Record<string, readonly Scope[]>> = { 'token-ingest': ['ingest'] };
const TICK = {
  symbol: 'btc',
  ts: '2025-10-31T10:00:00Z',
  price: '110000.10',
  volume: 0.025,
  source: 'feeder',
};

function post(api: TestApi, body: string): Promise<Answer> {
  const headers = { authorization: 'Bearer token-ingest', 'content-type': 'application/json' };
  return api.ask({ method: 'POST', path: '/ingest/tick', headers, body });
}

void test('one or many, with all the digits that were sent', async (t) => {
  const api = await startApi(t, { stored: STORED });
  for (const [body, accepted] of [
    [JSON.stringify(TICK), 1],
    [JSON.stringify([TICK, { ...TICK, seq: 1 }]), 2],
    ['[]', 0],
    [
      '{"symbol":"ETH","ts":1761904800000001,"price":0.10000000000000000000000000000000000001,"volume":12345678901234567890,"source":"f","seq":9223372036854775807}',
      1,
    ],
  ] as const) {
    const answer = await post(api, body);
    t.strictSame([answer.status, answer.text], [200, `{"accepted":${accepted}}`], body);
  }
  t.match(api.taken[0], { symbol: 'BTC', price: '110000.10', volume: '0.025', source: 'feeder', seq: 0n });
  t.match(api.taken.at(-1), {
    ts: 1_761_904_800_000_001n,
    price: '0.10000000000000000000000000000000000001',
    volume: '12345678901234567890',
    seq: 9_223_372_036_854_775_807n,
  });
});

/** A list of a good tick, and of some with other fields. */
function list(...wrong: object[]): string {
  return JSON.stringify([TICK, ...wrong.map((field) => ({ ...TICK, ...field }))]);
}

void test('all or nothing: a mistake is told with its place, and nothing of the request is taken', async (t) => {
  const api = await startApi(t, { stored: STORED });
  for (const [body, paths] of [
    [JSON.stringify({ ...TICK, price: 'x' }), ['body.price']],
    [list({ price: 'NaN' }), ['body[1].price']],
    [list({ symbol: '' }, {}, { ts: 'tomorrow' }), ['body[1].symbol', 'body[3].ts']],
    [list({ volume: -1 }), ['body[1].volume']],
    [list({ seq: '9223372036854775808' }), ['body[1].seq']],
    [list({ extra: 1 }), ['body[1].extra']],
    [list({ price: { $gt: 0 } }), ['body[1].price']],
    [`{"symbol":"A","symbol":"B"}`, ['body.symbol']],
    ['{"__proto__":{}}', ['body.__proto__']],
    ['[1]', ['body[0]']],
    ['{', ['body']],
    ['', ['body']],
    ['null', ['body']],
    [`[${'['.repeat(100_000)}`, ['body[0]']],
    [`[${Array.from({ length: 10_001 }, () => '{}').join(',')}]`, ['body']],
  ] as const) {
    const answer = await post(api, body);
    t.equal(answer.status, 400, body.slice(0, 80));
    const { code, paths: told } = errorOf(t, answer, body.slice(0, 80));
    t.equal(code, 'bad_request');
    t.strictSame(told, paths, body.slice(0, 80));
  }
  t.strictSame(api.taken, []);
});

void test('503 with Retry-After while the bus cannot keep them, and 500 for a mistake of ours', async (t) => {
  let kind: string | null = null;
  const accept = (): Promise<void> =>
    kind === null ? Promise.resolve() : Promise.reject(Object.assign(new Error('secret-address'), { kind }));
  const api = await startApi(t, { stored: STORED, accept });
  for (const trouble of ['full', 'unreachable', 'timeout', 'setup']) {
    kind = trouble;
    const answer = await post(api, JSON.stringify(TICK));
    t.equal(answer.status, 503, trouble);
    t.equal(errorOf(t, answer, trouble).code, 'unavailable');
    t.match(answer.headers['retry-after'], /^[1-9]\d*$/);
    t.notMatch(answer.text, /secret-address/);
  }
  kind = 'unheard-of';
  t.equal(errorOf(t, await post(api, JSON.stringify(TICK)), 'ours').code, 'internal');
  kind = null;
  t.equal((await post(api, JSON.stringify(TICK))).status, 200);
});
