import { createHmac } from 'node:crypto';
import { test } from 'tap';
import { ApiError } from '../../../../src/serve/api/errors.ts';
import type { Principal, Scope } from '../../../../src/serve/api/access.ts';
import { buildApi, type Routes } from '../../../../src/serve/api/server.ts';
import { TokenAccess } from '../../../../src/serve/api/guard/token-access.ts';
import { envOf } from '../../../../src/core/env.ts';
import { errorOf, startApi, type Asked } from '../../../support/api/server.ts';

const TOKEN = 'first-token-of-more-than-32-characters';
const TICK = JSON.stringify({ symbol: 'BTC', ts: '2025-10-31T10:00:00Z', price: 1, volume: 1, source: 'f' });
const POST: Asked = { method: 'POST', path: '/ingest/tick', body: TICK };
const JSON_TYPE = { 'content-type': 'application/json' };
const SECRET = 'k'.repeat(32);

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}`, ...JSON_TYPE };
}

/** One route of each scope that answers at once. */
const scoped: Routes = (api) => {
  for (const scope of ['read', 'ingest', 'replay', 'export', 'admin'] as const)
    api.get(`/${scope}`, { config: { scope } }, () => ({ ok: true }));
  api.get('/public', { config: { scope: null } }, ({ principal }) => ({ name: principal.name }));
};

void test('401 without a token and with any that is wrong, 403 with too small a scope, 200 with the right one', async (t) => {
  const scopes: readonly Scope[] = ['read', 'ingest', 'replay', 'export', 'admin'];
  const stored = Object.fromEntries(scopes.map((scope) => [`token-${scope}`, [scope]]));
  const api = await startApi(t, {
    tokens: [TOKEN],
    stored,
    routes: [scoped],
    limits: { authFailuresPerMinuteMax: 0 },
  });
  for (const scope of scopes) {
    const path = `/${scope}`;
    const none = await api.ask({ path });
    t.equal(none.status, 401);
    t.equal(none.headers['www-authenticate'], 'Bearer');
    t.equal(errorOf(t, none, path).code, 'unauthorized');
    for (const authorization of [
      'Bearer wrong',
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.toUpperCase()}`,
      `Bearer ${TOKEN},${TOKEN}`,
      `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}`,
      TOKEN,
      'Bearer',
      'Bearer ',
      `Bearer ${'x'.repeat(4000)}`,
    ])
      t.equal((await api.ask({ path, headers: { authorization } })).status, 401, authorization.slice(0, 60));
    for (const given of scopes) {
      const answer = await api.ask({ path, headers: bearer(`token-${given}`) });
      const isAllowed = given === scope || given === 'admin';
      t.equal(answer.status, isAllowed ? 200 : 403, `${given} asks for ${scope}`);
      if (!isAllowed) t.equal(errorOf(t, answer, path).code, 'forbidden');
    }
    t.equal((await api.ask({ path, headers: bearer(TOKEN) })).status, 200);
    for (const query of [`?token=${TOKEN}`, `?access_token=${TOKEN}`, `?api_key=${TOKEN}`])
      t.equal((await api.ask({ path: path + query })).status, 401, 'a token in the query is none');
  }
  t.match(JSON.parse((await api.ask({ path: '/public' })).text), { name: 'anonymous' });
  t.equal(
    (await api.ask({ path: '/public', headers: bearer('wrong') })).status,
    200,
    'of a public route nobody asks',
  );
});

void test('whoever may not be here is told of no path and no method', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN] });
  for (const asked of [
    { path: '/nothing' },
    { path: '/docs' },
    { path: '/openapi.json' },
    { path: '/ingest/tick' },
    { path: '/health', method: 'DELETE' },
    { path: '/health', method: 'OPTIONS' },
  ]) {
    const answer = await api.ask(asked);
    t.equal(errorOf(t, answer, JSON.stringify(asked)).code, 'unauthorized');
  }
  t.equal((await api.ask({ path: '/nothing', headers: bearer(TOKEN) })).status, 404);
  t.equal((await api.ask({ path: '/ingest/tick', headers: bearer(TOKEN) })).status, 405);
});

const forgotten: Routes = (api) => void api.get('/forgotten', () => 'x');

void test('a route without a scope does not start', async (t) => {
  const env = envOf();
  const table = { readValid: () => Promise.resolve([]), touch: () => Promise.resolve() };
  const access = new TokenAccess({ tokens: [], table, env });
  await t.rejects(buildApi({ access, routes: [forgotten], version: '0', env }), {
    message: /declares no scope/,
  });
  await access.close();
});

void test('on loopback without a token it is open, but for the webhook', async (t) => {
  const api = await startApi(t, { stored: { 'token-ingest': ['ingest'], 'token-read': ['read'] } });
  t.equal((await api.ask({ path: '/openapi.json' })).status, 200);
  t.equal((await api.ask({ ...POST, headers: JSON_TYPE })).status, 401);
  t.equal((await api.ask({ ...POST, headers: bearer('token-ingest') })).status, 200);
  t.equal((await api.ask({ ...POST, headers: bearer('token-read') })).status, 403);
  t.equal(
    (await api.ask({ path: '/openapi.json', headers: bearer('wrong') })).status,
    401,
    'a wrong token is no none',
  );
  t.equal(api.taken.length, 1);
});

void test('the webhook takes an API key, and a signature of exactly these bytes', async (t) => {
  const api = await startApi(t, {
    tokens: [TOKEN],
    stored: { 'token-ingest': ['ingest'] },
    signatureKeys: new Map([['feeder', SECRET]]),
    limits: { authFailuresPerMinuteMax: 0 },
  });
  const now = Math.floor(Date.now() / 1000);
  const signed = (body: string, time = now, secret = SECRET, id = 'feeder'): Record<string, string> => ({
    ...JSON_TYPE,
    'x-signature': `t=${time},id=${id},v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}`,
  });
  t.equal((await api.ask({ ...POST, headers: { ...JSON_TYPE, 'x-api-key': 'token-ingest' } })).status, 200);
  t.equal((await api.ask({ ...POST, headers: { ...JSON_TYPE, 'x-api-key': 'wrong' } })).status, 401);
  t.equal(
    (await api.ask({ path: '/docs', headers: { 'x-api-key': TOKEN } })).status,
    401,
    'elsewhere it is nothing',
  );

  const good = await api.ask({ ...POST, headers: signed(TICK) });
  t.strictSame([good.status, good.text], [200, '{"accepted":1}']);
  t.equal(api.taken.length, 2);
  for (const [what, headers, body = TICK] of [
    ['another body', signed(TICK), `${TICK} `],
    ['another secret', signed(TICK, now, 'x'.repeat(32))],
    ['another id', signed(TICK, now, SECRET, 'nobody')],
    ['six minutes ago', signed(TICK, now - 360)],
    ['in six minutes', signed(TICK, now + 360)],
    ['nonsense', { ...JSON_TYPE, 'x-signature': 'x' }],
    ['broken JSON of a wrong signature: not parsed first', signed('{"a"', now, 'x'.repeat(32)), '{"a"'],
    ['no body', signed(TICK), ''],
  ] as [string, Record<string, string>, string?][])
    t.equal((await api.ask({ method: 'POST', path: '/ingest/tick', headers, body })).status, 401, what);
  t.equal((await api.ask({ ...POST, headers: signed('{"a"'), body: '{"a"' })).status, 400, 'signed nonsense');
  const bare = { 'x-signature': signed(TICK)['x-signature'] ?? '' };
  t.equal((await api.ask({ ...POST, headers: { ...bare, 'content-type': 'text/plain' } })).status, 415);
  t.ok(
    [400, 401, 415].includes((await api.ask({ method: 'POST', path: '/ingest/tick', headers: bare })).status),
    'nothing to verify',
  );
  t.equal((await api.ask({ path: '/docs', headers: signed('') })).status, 401, 'elsewhere it is nothing');
  const both = await api.ask({ ...POST, headers: { ...signed(TICK), authorization: `Bearer ${TOKEN}` } });
  t.equal(errorOf(t, both, 'two credentials').code, 'bad_request');
  t.equal(api.taken.length, 2, 'nothing of all this was taken');
});

void test('a ticket of a route lets in where it is valid, and counts as a failure where not', async (t) => {
  const reader: Principal = { name: 'ticket', scopes: new Set(['read']) };
  const routes: Routes = (api) => {
    api.get(
      '/with-ticket',
      {
        config: {
          scope: 'read',
          ticket: ({ headers: { 'x-test-ticket': ticket } }) => {
            if (ticket === undefined) return null;
            if (ticket !== 'good') throw new ApiError('unauthorized', 'the ticket is not valid');
            return reader;
          },
        },
      },
      ({ principal }) => ({ name: principal.name }),
    );
  };
  const api = await startApi(t, {
    tokens: [TOKEN],
    routes: [routes],
    limits: { authFailuresPerMinuteMax: 2 },
  });
  const path = '/with-ticket';
  t.match(JSON.parse((await api.ask({ path, headers: { 'x-test-ticket': 'good' } })).text), {
    name: 'ticket',
  });
  t.equal((await api.ask({ path })).status, 401);
  for (const status of [401, 401, 429])
    t.equal((await api.ask({ path, headers: { 'x-test-ticket': 'bad' } })).status, status);
});

function from(address: string, token: string): Asked {
  return { path: '/openapi.json', headers: { ...bearer(token), 'x-forwarded-for': address } };
}

void test('an address may be wrong so often a minute, and is then asked to wait; others are not', async (t) => {
  const api = await startApi(t, {
    tokens: [TOKEN],
    limits: { authFailuresPerMinuteMax: 3, trustedProxies: ['127.0.0.1'] },
  });
  for (let at = 0; at < 3; at += 1) t.equal((await api.ask(from('192.0.2.1', `guess-${at}`))).status, 401);
  for (const token of ['guess-4', TOKEN]) {
    const blocked = await api.ask(from('192.0.2.1', token));
    t.equal(errorOf(t, blocked, 'blocked').code, 'too_many_requests');
    t.match(blocked.headers['retry-after'], /^([1-9]|[1-5]\d|60)$/);
  }
  t.equal((await api.ask(from('192.0.2.2', TOKEN))).status, 200);
  t.equal((await api.ask({ path: '/health', headers: { 'x-forwarded-for': '192.0.2.1' } })).status, 200);
});

void test('X-Forwarded-For of who is no configured proxy says nothing', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], limits: { authFailuresPerMinuteMax: 2 } });
  const statuses: number[] = [];
  for (let at = 0; at < 4; at += 1)
    statuses.push(
      (await api.ask({ path: '/docs', headers: { ...bearer('wrong'), 'x-forwarded-for': `192.0.2.${at}` } }))
        .status,
    );
  t.strictSame(statuses, [401, 401, 429, 429]);
  t.ok(api.lines.every(({ fields }) => fields['address'] === '127.0.0.1'));
});

void test('a token, and an address without one, may ask so often a second', async (t) => {
  const api = await startApi(t, {
    tokens: [TOKEN],
    stored: { 'token-read': ['read'] },
    limits: { requestsPerSecondMax: 2 },
  });
  const statuses = async (headers: Record<string, string>, path: string): Promise<number[]> =>
    (await Promise.all(Array.from({ length: 120 }, () => api.ask({ path, headers })))).map(
      ({ status }) => status,
    );
  for (const path of ['/openapi.json', '/nothing', '/ingest/tick']) {
    const all = await statuses(bearer(TOKEN), path);
    t.ok(all.includes(429), `${path}: ${all.filter((status) => status === 429).length} of ${all.length}`);
  }
  t.ok((await statuses({}, '/health')).includes(429), 'by address');
  const refused = await Promise.all(Array.from({ length: 60 }, () => api.ask({ headers: {} })));
  const one = refused.find(({ status }) => status === 429);
  if (one === undefined) t.fail('none was refused');
  else {
    t.equal(errorOf(t, one, '429').code, 'too_many_requests');
    t.equal(one.headers['retry-after'], '1');
  }
  t.equal(
    (await api.ask({ path: '/openapi.json', headers: bearer('token-read') })).status,
    200,
    'another token',
  );
});

const changes: Routes = (api) => {
  api.post('/changes/:id', { config: { scope: 'admin' } }, () => ({ ok: true }));
};

void test('a line for each mutation and each refused credential, and none of it holds a secret', async (t) => {
  const stored = { 'token-of-a-reader': ['read'], 'token-of-an-admin': ['admin'] } as const;
  const api = await startApi(t, { tokens: [TOKEN], stored, routes: [changes] });
  const path = '/changes/7';
  await api.ask({ path, method: 'POST', headers: { authorization: 'Bearer token-of-an-admin' } });
  await api.ask({ path, method: 'POST', headers: bearer('token-of-a-reader') });
  await api.ask({ path: `${path}?secret=canary`, method: 'POST', headers: bearer('canary-of-a-token') });
  await api.ask({ path: '/canary-in-a-path', headers: bearer(TOKEN) });
  t.strictSame(
    api.lines.map(({ message, fields }) => [
      message,
      fields['route'],
      fields['principal'],
      fields['status'] ?? fields['reason'],
    ]),
    [
      ['The API was asked to change something', '/changes/:id', 'stored-admin', 200],
      ['The API refused a credential', '/changes/:id', 'stored-read', 'scope'],
      ['The API refused a credential', '/changes/:id', null, 'invalid'],
    ],
  );
  for (let at = 0; at < 5; at += 1)
    await api.ask({ path, method: 'POST', headers: bearer('token-of-a-reader') });
  t.equal(api.lines.length, 3, 'the same refusal is not told each time');
  t.notMatch(JSON.stringify(api.lines), /canary|token-of|first-token/);
  t.equal(api.counts.get('http_auth_failures_total scope'), 6);
  t.equal(api.counts.get('http_auth_failures_total invalid'), 1);
  t.equal(api.counts.get('http_requests_total /changes/:id POST 200'), 1);
  t.equal(api.counts.get('http_requests_total _none GET 404'), 1, 'no label is what a client made up');
});
