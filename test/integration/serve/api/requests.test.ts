import { test } from 'tap';
import { z } from 'zod';
import type { Routes } from '../../../../src/serve/api/server.ts';
import { errorOf, startApi, type Answer, type Asked } from '../../../support/api/server.ts';

const TOKEN = 'first-token-of-more-than-32-characters';
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const JSON_TYPE = { 'content-type': 'application/json' };

const echo: Routes = (api) => {
  api.post(
    '/echo',
    {
      config: { scope: 'read' },
      schema: { body: z.strictObject({ n: z.number(), note: z.unknown().optional() }) },
    },
    ({ body }) => body,
  );
  api.get(
    '/echo/:name',
    {
      config: { scope: 'read' },
      schema: {
        params: z.strictObject({ name: z.string() }),
        querystring: z.strictObject({ limit: z.coerce.number().int().optional() }),
      },
    },
    ({ params, query }, reply) => reply.header('cache-control', 'max-age=60').send({ ...params, ...query }),
  );
};

void test('Host headers of other servers are refused', async (t) => {
  const api = await startApi(t);
  for (const host of [
    'evil.example',
    'evil.example:8083',
    'localhost.evil.example',
    'localhost@evil.example',
    '0.0.0.0',
    'a b',
  ])
    t.equal(errorOf(t, await api.ask({ headers: { host } }), host).code, 'misdirected');
  for (const host of ['localhost', `localhost:${api.port}`, '127.0.0.1', '[::1]', 'LOCALHOST'])
    t.equal((await api.ask({ headers: { host } })).status, 200, host);
  const named = await startApi(t, { allowedHosts: ['api.example'] });
  t.equal((await named.ask({ headers: { host: 'api.example' } })).status, 200);
  t.equal((await named.ask({ headers: { host: 'localhost' } })).status, 421);
});

void test('pages of other sites can change nothing and open no WebSocket', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], routes: [echo] });
  const host = `localhost:${api.port}`;
  const change = (origin: string): Asked => ({
    method: 'POST',
    path: '/echo',
    headers: { ...AUTHORIZED, ...JSON_TYPE, host, origin },
    body: '{"n":1}',
  });
  t.equal((await api.ask(change(`http://${host}`))).status, 200);
  for (const origin of [
    'null',
    'http://evil.example',
    'http://localhost:1',
    `http://${host}.evil.example`,
    'file://',
  ])
    t.equal(errorOf(t, await api.ask(change(origin)), origin).code, 'forbidden');
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  };
  const socket = await api.ask({
    path: '/echo/x',
    headers: { ...AUTHORIZED, ...upgrade, host, origin: 'http://evil.example' },
  });
  t.equal(errorOf(t, socket, 'upgrade').code, 'forbidden');
});

void test('CORS is off: a preflight is refused and no answer allows another origin', async (t) => {
  const api = await startApi(t);
  const origin = 'http://evil.example';
  const preflight = await api.ask({
    method: 'OPTIONS',
    path: '/openapi.json',
    headers: {
      origin,
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'authorization',
    },
  });
  t.equal(errorOf(t, preflight, 'preflight').code, 'forbidden');
  const read = await api.ask({ path: '/openapi.json', headers: { origin } });
  t.equal(read.status, 200);
  t.strictSame(
    Object.keys(read.headers).filter((name) => name.startsWith('access-control')),
    [],
  );
  t.equal(read.headers['cross-origin-resource-policy'], 'same-origin');
});

void test('every answer has an id and strict headers; a client may name its request in a safe form', async (t) => {
  const api = await startApi(t, { routes: [echo] });
  const ids = new Set<string>();
  for (const path of ['/echo/a', '/nothing', '/echo/a?x=1', '/%zz', '/docs', '/openapi.json']) {
    const { headers } = await api.ask({ path });
    ids.add(String(headers['x-request-id']));
    t.match(headers['content-security-policy'], /default-src 'none'/, path);
    t.equal(headers['x-content-type-options'], 'nosniff', path);
    t.equal(headers['referrer-policy'], 'no-referrer', path);
    t.equal(headers['server'], undefined, path);
    t.equal(headers['x-powered-by'], undefined, path);
  }
  t.equal(ids.size, 6);
  t.equal((await api.ask({ path: '/echo/a' })).headers['cache-control'], 'max-age=60', 'a route has its own');
  t.equal((await api.ask({ path: '/openapi.json' })).headers['cache-control'], 'no-store');
  const own = await api.ask({ headers: { 'x-request-id': 'abc-1.2_3' } });
  t.equal(own.headers['x-request-id'], 'abc-1.2_3');
  for (const given of ['', 'a b', 'x'.repeat(65), '"quoted"', '<script>', '${jndi:ldap://x}', 'é'])
    t.match(
      (await api.ask({ headers: { 'x-request-id': given } })).headers['x-request-id'],
      /^[0-9a-f-]{36}$/,
      given,
    );
});

void test('methods: 405 with Allow, HEAD without a body, no override', async (t) => {
  const api = await startApi(t, { routes: [echo] });
  for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'GET']) {
    const answer = await api.ask({ method, path: '/echo' });
    t.equal(errorOf(t, answer, method).code, 'method_not_allowed');
    t.equal(answer.headers['allow'], 'POST');
  }
  const withBody = { method: 'GET', path: '/echo', headers: { 'content-length': '2' }, body: '{}' };
  t.equal(errorOf(t, await api.ask(withBody), 'a GET with a body').code, 'method_not_allowed');
  const head = await api.ask({ method: 'HEAD', path: '/echo/a' });
  t.strictSame([head.status, head.text], [200, '']);
  for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
    const answer = await api.ask({ path: '/echo/a?limit=1', headers: { [name]: 'DELETE' } });
    t.equal(answer.text, '{"name":"a","limit":1}', name);
  }
  t.equal((await api.ask({ path: '/echo/a?_method=DELETE' })).status, 400);
  for (const method of ['PROPFIND', 'QUERY', 'LINK', 'M-SEARCH']) {
    const answer = await api.ask({ method, path: '/echo/a' });
    t.equal(errorOf(t, answer, method).code, 'method_not_allowed');
    t.equal(answer.headers['allow'], 'GET, HEAD');
    t.equal((await api.ask({ method, path: '/nothing' })).status, 404, `${method} of no path`);
  }
});

void test('addresses: too long, with NUL, badly escaped, beyond the root', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], routes: [echo] });
  const at = (path: string): Promise<Answer> => api.ask({ path, headers: AUTHORIZED });
  t.equal(errorOf(t, await at(`/echo/${'x'.repeat(8 * 1024)}`), 'long').code, 'uri_too_long');
  t.equal((await at(`/echo/${'x'.repeat(8000)}`)).status, 200, 'nearly as long');
  for (const path of [
    '/echo/a%00b',
    '/echo/a?limit=%00',
    '/%00',
    '/echo/%zz',
    '/echo/%',
    '/echo/%ff%fe',
    '/echo/a%c0%af',
  ])
    t.equal(errorOf(t, await at(path), path).code, 'bad_request');
  for (const path of [
    '/../etc/passwd',
    '/echo/../../etc/passwd',
    '/docs/../../etc/passwd',
    '//etc/passwd',
    '/docs/%2e%2e/%2e%2e/etc/passwd',
    '/.env',
    '/.git/config',
    '/echo/a/',
    '/echo//a',
    '/ECHO/a',
  ])
    t.equal(errorOf(t, await at(path), path).code, 'not_found');
  t.strictSame(
    JSON.parse((await at('/echo/..%2f..%2fetc%2fpasswd')).text),
    { name: '../../etc/passwd' },
    'a parameter is text',
  );
});

void test('queries: what is not described is refused', async (t) => {
  const api = await startApi(t, { routes: [echo] });
  for (const query of [
    'unknown=1',
    'limit=1&limit=2',
    'limit[]=1',
    'limit=x',
    '__proto__=1',
    '__proto__[x]=1',
    'constructor.prototype.x=1',
    'limit=1e400',
  ])
    t.equal(errorOf(t, await api.ask({ path: `/echo/a?${query}` }), query).code, 'bad_request');
  t.strictSame(errorOf(t, await api.ask({ path: '/echo/a?limit=x' }), 'x').paths, ['query.limit']);
  t.strictSame(errorOf(t, await api.ask({ path: '/health2?x' }), 'no route').code, 'not_found');
  t.equal(({} as Record<string, unknown>)['x'], undefined);
});

void test('bodies: JSON in UTF-8 that every reader reads alike, and no larger than a megabyte', async (t) => {
  const api = await startApi(t, { routes: [echo] });
  const post = (
    body: string | Buffer,
    headers: Record<string, string> = JSON_TYPE,
  ): ReturnType<typeof api.ask> => api.ask({ method: 'POST', path: '/echo', headers, body });
  t.equal((await post('{"n":1,"note":{"a":[1]}}')).status, 200);
  for (const [body, why] of [
    ['', 'empty'],
    ['{', 'cut'],
    ['{"n":1}{"n":2}', 'two'],
    ['{"n":1,"n":2}', 'a name twice'],
    [String.raw`{"n":1,"\u006e":2}`, 'a name twice, escaped'],
    ['{"n":1,"__proto__":{"admin":true}}', '__proto__'],
    ['{"n":1,"note":{"constructor":{"prototype":{"admin":true}}}}', 'constructor'],
    ['{"n":9007199254740993}', 'a number that a double would round'],
    ['{"n":1e999}', 'beyond every double'],
    ['{"n":NaN}', 'NaN'],
    ['{"n":1,"other":2}', 'an unknown name'],
    ['[1]', 'another shape'],
    ['null', 'null'],
    ['['.repeat(500_000), 'deep'],
    [`{"n":1,"note":${'['.repeat(33)}${']'.repeat(33)}}`, 'deep and closed'],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'no UTF-8'],
    [Buffer.from('{"n":1}', 'utf16le'), 'UTF-16'],
    ['{"n":1}\0', 'NUL behind'],
    ['{"n":1,}', 'a comma too many'],
    ["{'n':1}", 'single quotes'],
  ] as const)
    t.equal(errorOf(t, await post(body), why).code, 'bad_request', why);
  t.equal(({} as Record<string, unknown>)['admin'], undefined, 'nobody became an admin');
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/json; charset=latin1',
    'application/jsonp',
    'text/json',
    '*/*',
    'json',
  ])
    t.equal(
      errorOf(t, await post('{"n":1}', { 'content-type': type }), type).code,
      'unsupported_media_type',
      type,
    );
  t.equal(errorOf(t, await post('{"n":1}', {}), 'no type').code, 'unsupported_media_type');
  for (const packing of ['gzip', 'br', 'deflate', 'x'])
    t.equal(
      errorOf(t, await post('{"n":1}', { ...JSON_TYPE, 'content-encoding': packing }), packing).code,
      'unsupported_media_type',
    );
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON;charset="UTF-8"',
  ])
    t.equal((await post('{"n":1}', { 'content-type': type })).status, 200, type);
  const large = `{"n":1,"note":"${'x'.repeat(1024 * 1024)}"}`;
  t.equal(errorOf(t, await post(large), 'too large').code, 'payload_too_large');
  t.equal(
    errorOf(t, await post(large, { ...JSON_TYPE, 'transfer-encoding': 'chunked' }), 'too large, in chunks')
      .code,
    'payload_too_large',
  );
  t.equal(
    (await api.ask({ method: 'GET', path: '/echo/a', headers: { 'content-length': '2' }, body: '{}' }))
      .status,
    400,
    'a GET has none',
  );
});

function many(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, at) => [`x-${at}`, '1']));
}

void test('headers: so many and no more, so large and no larger', async (t) => {
  const api = await startApi(t);
  t.equal((await api.ask({ headers: many(90) })).status, 200);
  for (const count of [101, 1000])
    t.equal(errorOf(t, await api.ask({ headers: many(count) }), `${count}`).code, 'headers_too_large');
  t.equal(
    errorOf(t, await api.ask({ headers: { 'x-large': 'x'.repeat(20_000) } }), 'large').code,
    'headers_too_large',
  );
  t.equal((await api.ask({ headers: { 'x-odd': ['a', 'b'] } })).status, 200);
});

const broken: Routes = (api) => {
  api.get('/throws', { config: { scope: 'read' } }, () => {
    throw new Error('secret-of-our-insides at /srv/app');
  });
  api.get(
    '/odd',
    { config: { scope: 'read' }, schema: { response: { 200: z.object({ n: z.number() }) } } },
    () => ({ n: 'secret-of-our-insides' }) as never,
  );
  api.get('/half', { config: { scope: 'read' } }, (_request, reply) => {
    reply.header('etag', '"x"').header('cache-control', 'max-age=9').type('text/csv');
    throw new TypeError('secret-of-our-insides');
  });
};

void test('an answer that is not as described, or a mistake of ours, tells nothing of our insides', async (t) => {
  const api = await startApi(t, { routes: [broken] });
  for (const path of ['/throws', '/odd', '/half']) {
    const answer = await api.ask({ path });
    t.equal(errorOf(t, answer, path).code, 'internal');
    t.notMatch(answer.text, /secret-of|stack|\/srv|\.ts/);
    t.equal(answer.headers['etag'], undefined);
  }
  t.equal(
    api.lines.filter(({ message, level }) => message === 'A request failed' && level === 'error').length,
    3,
  );
});
