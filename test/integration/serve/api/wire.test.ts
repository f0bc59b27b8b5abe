import { connect } from 'node:net';
import { test } from 'tap';
import { answerOf, errorOf, startApi } from '../../../support/api/server.ts';
import { until } from '../../../support/until.ts';

const HOST = 'Host: localhost';
const TOKEN = 'first-token-of-more-than-32-characters';

/** Bytes that are one request to one reader and two to another, or none at all; `\n` stands for CRLF. */
const SHAPES: readonly [string, string, number?][] = [
  [
    'length and chunks',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n`,
  ],
  [
    'chunks and length',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\nContent-Length: 4\n\n0\n\n`,
  ],
  ['two lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0\nContent-Length: 5\n\nGET /`],
  ['two equal lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0\nContent-Length: 0\n\n`],
  ['a list of lengths', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0, 5\n\nGET /`],
  ['a negative length', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: -1\n\n`],
  ['a signed length', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: +5\n\nhello`],
  ['a length in hex', `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 0x5\n\nhello`],
  [
    'a length beyond 64 bits',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nContent-Length: 99999999999999999999\n\n`,
  ],
  ['an unknown coding', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: xchunked\n\n0\n\n`],
  [
    'a coding behind chunked',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked, identity\n\n0\n\n`,
  ],
  ['identity', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: identity\nContent-Length: 2\n\n{}`],
  [
    'two codings',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n`,
  ],
  ['a blank before the colon', `POST /ingest/tick HTTP/1.1\n${HOST}\nTransfer-Encoding : chunked\n\n0\n\n`],
  ['a folded header', `GET /health HTTP/1.1\n${HOST}\nX-A: 1\n Transfer-Encoding: chunked\n\n`, 0],
  ['a header without a colon', `GET /health HTTP/1.1\n${HOST}\nnonsense\n\n`],
  ['an empty header name', `GET /health HTTP/1.1\n${HOST}\n: x\n\n`],
  ['NUL in a header', `GET /health HTTP/1.1\n${HOST}\nX-A: a\0b\n\n`],
  ['a lone CR in a header', `GET /health HTTP/1.1\n${HOST}\nX-A: a\rX-B: c\n\n`],
  [
    'a chunk that is no number',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\nxyz\n{}\n0\n\n`,
  ],
  [
    'a chunk larger than it says',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n2\n{}xx\n0\n\n`,
  ],
  [
    'a chunk with a minus',
    `POST /ingest/tick HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n-2\n{}\n0\n\n`,
  ],
  ['no version', `GET /health\n\n`],
  ['version 0.9', `GET /health HTTP/0.9\n${HOST}\n\n`],
  ['version 2.0', `PRI * HTTP/2.0\n\nSM\n\n`],
  ['version 1.15', `GET /health HTTP/1.15\n${HOST}\n\n`],
  ['a blank in the path', `GET /health /x HTTP/1.1\n${HOST}\n\n`],
  ['an unknown method', `BREW /health HTTP/1.1\n${HOST}\n\n`],
  ['a method in lower case', `get /health HTTP/1.1\n${HOST}\n\n`],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['nonsense', '\0\0\0\0'],
  ['no Host', 'GET /health HTTP/1.1\n\n'],
  ['an empty Host', 'GET /health HTTP/1.1\nHost:\n\n'],
  ['two Hosts', `GET /health HTTP/1.1\n${HOST}\nHost: evil.example\n\n`],
  ['no Host, old', 'GET /health HTTP/1.0\n\n'],
  ['an address with a host', `GET http://evil.example/health HTTP/1.1\n${HOST}\n\n`],
  ['an address with our host', `GET http://localhost/health HTTP/1.1\n${HOST}\n\n`],
  ['the server itself', `OPTIONS * HTTP/1.1\n${HOST}\n\n`],
  ['two tokens', `GET /docs HTTP/1.1\n${HOST}\nAuthorization: Bearer ${TOKEN}\nAuthorization: Bearer x\n\n`],
  ['a GET with a body', `GET /health HTTP/1.1\n${HOST}\nContent-Length: 5\n\nGET /`],
  ['a GET with chunks', `GET /health HTTP/1.1\n${HOST}\nTransfer-Encoding: chunked\n\n0\n\n`],
  ['a wish that is not met', `POST /ingest/tick HTTP/1.1\n${HOST}\nExpect: 200-ok\nContent-Length: 2\n\n{}`],
];

void test('bytes that two servers could read differently are refused, while others are served', async (t) => {
  const api = await startApi(t, { tokens: [TOKEN], allowedHosts: ['localhost'] });
  for (const [what, shape, status = 400] of SHAPES) {
    const smuggled = `${shape.replaceAll('\n', '\r\n')}GET /smuggled HTTP/1.1\r\n${HOST}\r\n\r\n`;
    const [bytes, meanwhile] = await Promise.all([api.raw(smuggled), api.ask()]);
    t.equal(meanwhile.status, 200, `${what}: others are served`);
    const answer = answerOf(bytes);
    if (status === 0) continue;
    t.equal(answer.status, status, `${what}: ${bytes.slice(0, 40)}`);
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
