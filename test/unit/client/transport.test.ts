import { test } from 'tap';
import { ApiError } from '../../../src/client/api-error.ts';
import { retryDelayMs } from '../../../src/client/retry.ts';
import { Transport, type ClientOptions } from '../../../src/client/transport.ts';
import { failure, json, refused, ScriptedFetch, silence, type Answer } from './scripted-fetch.ts';

const GET = { method: 'GET', path: 'v1/status' } as const;

function transportOf(
  options: Partial<ClientOptions>,
  ...answers: Answer[]
): { script: ScriptedFetch; transport: Transport } {
  const script = new ScriptedFetch(...answers);
  // no wait: what is waited for is tested by itself
  const transport = new Transport({
    url: 'http://server:8083',
    fetch: script.fetch,
    random: () => 0,
    ...options,
  });
  return { script, transport };
}

async function rejectionOf(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(error instanceof ApiError)) throw new Error('it did not reject with ApiError', { cause: error });
  return error;
}

void test('a request has the url’s path in front, the token, and what the query says', async (t) => {
  const { script, transport } = transportOf(
    { url: 'https://host/market', token: 'secret' },
    json({ ok: true }),
  );
  const query = { symbols: ['A', 'B/C'], start: 5n, limit: 10, merge: true, cursor: undefined, source: null };
  t.strictSame(await transport.json({ ...GET, query }), { ok: true });
  const [{ url, headers, method }] = script.sent;
  t.equal(url.href, 'https://host/market/v1/status?symbols=A%2CB%2FC&start=5&limit=10&merge=true');
  t.equal(headers['authorization'], 'Bearer secret');
  t.equal(method, 'GET');
});

void test('a url that cannot be one is refused when the client is made', async (t) => {
  for (const url of ['ftp://host', 'http://user:pw@host', 'http://host/?a=1', 'http://host/#a'])
    t.throws(() => new Transport({ url }), TypeError, url);
});

void test('an error has the server’s words', async (t) => {
  const body = {
    error: {
      code: 'bad_request',
      message: 'not as described',
      request_id: 'req-9',
      details: [{ path: 'query.limit', message: 'is too large' }],
    },
  };
  const { transport } = transportOf({}, json(body, { status: 400 }));
  const error = await rejectionOf(transport.json(GET));
  t.match(error, { code: 'bad_request', status: 400, requestId: 'req-9', retryAfterSeconds: null });
  t.strictSame(error.details, body.error.details);
  t.equal(error.message, 'not as described: query.limit is too large');
});

void test('what somebody else answers is told by its status', async (t) => {
  for (const [status, code] of [
    [502, 'unavailable'],
    [504, 'timeout'],
    [404, 'not_found'],
    [302, 'bad_answer'],
    [418, 'bad_answer'],
  ] as const) {
    const { transport } = transportOf({ attemptsMax: 1 }, new Response('<html>', { status }));
    const error = await rejectionOf(transport.json(GET));
    t.match(error, { code, status, requestId: null }, String(status));
  }
  const { transport } = transportOf({}, new Response('<html>'));
  t.equal((await rejectionOf(transport.json(GET))).code, 'bad_answer', 'no JSON');
  const unknown = json({ error: { code: 'toString', message: 'a word that is none' } }, { status: 403 });
  t.equal((await rejectionOf(transportOf({}, unknown).transport.json(GET))).code, 'forbidden');
});

void test('what passes by itself is asked again, what does not is not', async (t) => {
  const passing: Answer[] = [
    refused(),
    failure(429, 'too_many_requests'),
    failure(503, 'unavailable'),
    json(1),
  ];
  const { script, transport } = transportOf({}, ...passing);
  t.equal(await transport.json(GET), 1);
  t.equal(script.sent.length, 4);
  for (const [status, code] of [
    [400, 'bad_request'],
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [404, 'not_found'],
    [409, 'conflict'],
    [410, 'gone'],
    [500, 'internal'],
  ] as const) {
    const { script, transport } = transportOf({}, failure(status, code), json(1));
    t.equal((await rejectionOf(transport.json(GET))).code, code);
    t.equal(script.unused, 1, code);
  }
});

void test('not for ever: the last error is the one that is told', async (t) => {
  const { script, transport } = transportOf({ attemptsMax: 3 }, refused(), refused(), refused(), json(1));
  const error = await rejectionOf(transport.json(GET));
  t.match(error, { code: 'unreachable', status: 0, message: /ECONNREFUSED/ });
  t.equal(script.unused, 1);
});

const busy = (retryAfterSeconds: number | null): ApiError =>
  new ApiError('unavailable', 'busy', { status: 503, retryAfterSeconds });

void test('waits grow, and are at least what the server asks for', async (t) => {
  const waits = [1, 2, 3, 4].map((failures) => retryDelayMs(busy(null), failures, 5, 1));
  t.strictSame(waits, [200, 400, 800, 1600]);
  t.equal(retryDelayMs(busy(2), 1, 5, 0), 2000);
  t.equal(retryDelayMs(busy(31), 1, 5, 0), null, 'too long to wait for here');
  t.equal(retryDelayMs(busy(null), 5, 5, 0), null);
  t.equal(retryDelayMs(new ApiError('gone', 'gone', { status: 410 }), 1, 5, 0), null);
});

void test('Retry-After is seconds or a date, which the answer’s own date is subtracted from', async (t) => {
  const dates = { date: 'Sun, 29 Nov 2026 10:00:00 GMT', 'retry-after': 'Sun, 29 Nov 2026 10:02:00 GMT' };
  for (const [headers, seconds] of [
    [{ 'retry-after': '40' }, 40],
    [dates, 120],
    [{ 'retry-after': 'soon' }, null],
  ] as const) {
    const { transport } = transportOf({ attemptsMax: 1 }, failure(503, 'unavailable', { ...headers }));
    t.equal((await rejectionOf(transport.json(GET))).retryAfterSeconds, seconds);
  }
});

void test('an answer that does not come is a timeout, and asked for again', async (t) => {
  const { script, transport } = transportOf({ timeoutMs: 20 }, silence, json(1));
  t.equal(await transport.json(GET), 1);
  t.ok(script.sent[0].signal.aborted, 'the first was given up');
  const lasting = transportOf({ timeoutMs: 20, attemptsMax: 1 }, silence);
  t.match(await rejectionOf(lasting.transport.json(GET)), { code: 'timeout', status: 0 });
});

void test('a body that breaks off, or does not end, is asked for again', async (t) => {
  const broken = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('{"a":'));
      controller.error(new TypeError('terminated'));
    },
  });
  const { transport } = transportOf({}, new Response(broken), json(1));
  t.equal(await transport.json(GET), 1);
});

void test('the signal ends a request, and the wait before the next one', async (t) => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const { transport } = transportOf({}, silence);
  const work = transport.json(GET, { signal: controller.signal });
  controller.abort(reason);
  await t.rejects(work, reason);
  await t.rejects(transport.json(GET, { signal: controller.signal }), reason, 'nor does one begin');

  const later = new AbortController();
  const waiting = transportOf({}, () => {
    queueMicrotask(() => later.abort(reason));
    return failure(503, 'unavailable', { 'retry-after': '30' });
  });
  await t.rejects(waiting.transport.json(GET, { signal: later.signal }), reason);
  t.equal(waiting.script.sent.length, 1);
});

const pieces = (then: 'end' | 'cut'): Response => {
  let left = 3;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      left -= 1;
      if (left >= 0) controller.enqueue(new Uint8Array([left]));
      else if (then === 'end') controller.close();
      else controller.error(new TypeError('terminated'));
    },
  });
  return new Response(body);
};

void test('a body that is read by piece: its end, its cut, and a reader that goes away', async (t) => {
  const { script, transport } = transportOf(
    {},
    pieces('end'),
    pieces('cut'),
    pieces('end'),
    new Response(null),
  );
  const whole = await transport.open(GET);
  t.strictSame([...new Uint8Array(await new Response(whole.body).arrayBuffer())], [2, 1, 0]);
  const cut = await transport.open(GET);
  await t.rejects(new Response(cut.body).arrayBuffer(), {
    code: 'unreachable',
    message: /broke off: terminated/,
  });
  const left = await transport.open(GET);
  const reader = left.body.getReader();
  await reader.read();
  await reader.cancel();
  t.ok(
    script.sent.every(({ signal }) => signal.aborted),
    'nothing is left under way',
  );
  t.equal(await new Response((await transport.open(GET)).body).text(), '');
});
