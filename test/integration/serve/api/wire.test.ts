import { connect } from 'node:net';
import { test } from 'tap';
import { HOST, SHAPES, TOKEN } from '../../../support/api/shapes.ts';
import { answerOf, errorOf, startApi } from '../../../support/api/server.ts';
import { until } from '../../../support/until.ts';

void test('bytes that two servers could read differently are refused, while others are served', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], allowedHosts: ['localhost'] });
  for (const [what, shape] of SHAPES) {
    const [bytes, meanwhile] = await Promise.all([api.raw(shape), api.ask()]);
    t.equal(meanwhile.status, 200, `${what}: others are served`);
    const answer = answerOf(bytes);
    t.equal(answer.status, 400, `${what}: ${bytes.slice(0, 40)}`);
    // answers that follow on the connection are of their own: the first one is looked at
    const length = Number(answer.headers['content-length']);
    t.equal(errorOf(t, { ...answer, text: answer.text.slice(0, length) }, what).code, 'bad_request');
  }
  t.strictSame(api.taken, []);
});

void test('a folded header is part of the value before it, and no header of its own', async (t) => {
  const api = await startApi(t);
  const bytes = await api.raw(
    `GET /health HTTP/1.1\r\n${HOST}\r\nX-A: 1\r\n Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`,
  );
  t.ok([200, 400].includes(answerOf(bytes).status), bytes.slice(0, 40));
});

void test('headers beyond the limit, one or many, are told from nonsense', async (t) => {
  const api = await startApi(t);
  for (const [what, head] of [
    ['one', `X-Large: ${'x'.repeat(20_000)}`],
    ['an endless one', `X-Large: ${'x'.repeat(2_000_000)}`],
    ['many', Array.from({ length: 3_000 }, (_, at) => `X-${at}: 1`).join('\r\n')],
  ]) {
    const answer = answerOf(await api.raw(`GET /health HTTP/1.1\r\n${HOST}\r\n${head}\r\n\r\n`));
    t.equal(errorOf(t, answer, what).code, 'headers_too_large');
  }
  const path = answerOf(
    await api.raw(`GET /${'x'.repeat(9_000)} HTTP/1.1\r\n${HOST}\r\nConnection: close\r\n\r\n`),
  );
  t.equal(errorOf(t, path, 'path').code, 'uri_too_long');
});

void test('slow clients are answered 408 and cut off, whatever they are slow with, while others are served', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], limits: { headersMs: 300, requestMs: 600 } });
  const slow = [
    `GET /health HTTP/1.1\r\n${HOST}\r\nX-A: `,
    'GET /hea',
    `POST /ingest/tick HTTP/1.1\r\n${HOST}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[`,
    `POST /ingest/tick HTTP/1.1\r\n${HOST}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n`,
  ];
  const many = Array.from({ length: 50 }, () => slow).flat();
  const ended = Promise.all(many.map((bytes) => api.raw(bytes, { keepsOpen: true })));
  for (let at = 0; at < 20; at += 1) t.equal((await api.ask()).status, 200);
  for (const bytes of await ended) t.equal(errorOf(t, answerOf(bytes), bytes.slice(0, 30)).code, 'timeout');
});

void test('a byte at a time does not keep a connection either', async (t) => {
  const api = await startApi(t, { limits: { headersMs: 300, requestMs: 600 } });
  const socket = connect({ host: '127.0.0.1', port: api.port });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  socket.write(`GET /health HTTP/1.1\r\n${HOST}\r\nX-A: `);
  const drip = setInterval(() => socket.write('x'), 50);
  await until('it is cut off', () => socket.destroyed);
  clearInterval(drip);
  t.match(answer, /^HTTP\/1\.1 408 /);
});

void test('connections beyond the limit are closed, and those that are there are served', async (t) => {
  const api = await startApi(t, { limits: { connectionsMax: 5 } });
  const sockets = Array.from({ length: 20 }, () => connect({ host: '127.0.0.1', port: api.port }));
  for (const socket of sockets) socket.on('error', () => {});
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  await until('the others are closed', () => sockets.filter(({ destroyed }) => destroyed).length === 15);
  const [open] = sockets.filter(({ destroyed }) => !destroyed);
  const answered = new Promise<string>((resolve) =>
    open?.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  );
  open?.write(`GET /health HTTP/1.1\r\n${HOST}\r\n\r\n`);
  const answer = await answered;
  t.match(answer, /^HTTP\/1\.1 200 /);
});

void test('requests in a row on one connection are answered in their order, good and bad', async (t) => {
  const api = await startApi(t);
  const requests = ['/health', '/nothing', '/health?x', '/health'].map(
    (path) => `GET ${path} HTTP/1.1\r\n${HOST}\r\n\r\n`,
  );
  const bytes = await api.raw(`${requests.join('')}nonsense\r\n\r\n`, { keepsOpen: true });
  t.strictSame(
    [...bytes.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status)),
    [200, 404, 400, 200, 400],
  );
});
