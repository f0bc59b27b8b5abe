import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type Test } from 'tap';
import { runCommand, type Ended } from '../../../support/run/command.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const tick = (id: number): string =>
  `id: ${id}\nevent: tick\ndata: {"kind":"market","symbol":"SPY","price":${400 + id},"seq":"${id}"}\n\n`;

/** @returns its address */
async function serve(t: Test, handler: Handler): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function live(url: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return runCommand('mdp', ['live', '--url', url, ...args], env);
}

void test('prints items as the API has them, over a cut', async (t) => {
  const asked: { url: string | undefined; after: unknown; token: string | undefined }[] = [];
  const url = await serve(t, ({ url, headers }, response) => {
    asked.push({ url, after: headers['last-event-id'], token: headers.authorization });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (asked.length > 1)
      return void response.write(`event: lagged\ndata: {"missed":5}\n\n${tick(2)}${tick(3)}`);
    return void response.write(tick(1), () => response.destroy());
  });
  const args = [
    '--symbols',
    'SPY,QQQ',
    '--where',
    'price > 400',
    '--from',
    '2026-11-28T10:00:00Z',
    '--limit',
    '3',
  ];
  const { code, stdout, stderr } = await live(url, args, { API_TOKEN: 'a-token-of-thirty-two-characters-' });
  t.equal(code, 0, stderr);
  t.strictSame(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
    [1, 2, 3].map((id) => ({ kind: 'market', symbol: 'SPY', price: 400 + id, seq: String(id) })),
  );
  t.match(stderr, /trying again in \d+ ms\n/);
  t.match(stderr, /lagged: \{"missed":5\}/);
  t.strictSame(asked, [
    {
      url: '/v1/stream?topic=ticks&symbols=SPY%2CQQQ&where=price+%3E+400&from=2026-11-28T10%3A00%3A00Z',
      after: undefined,
      token: 'Bearer a-token-of-thirty-two-characters-',
    },
    {
      url: '/v1/stream?topic=ticks&symbols=SPY%2CQQQ&where=price+%3E+400',
      after: '1',
      token: asked[0].token,
    },
  ]);
});

void test('goes on behind an id that it printed', async (t) => {
  let after: unknown;
  const url = await serve(t, ({ headers }, response) => {
    after = headers['last-event-id'];
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(tick(42));
  });
  const { stdout } = await live(url, ['--after', '41', '--ids', '--limit', '1']);
  t.equal(after, '41');
  t.match(JSON.parse(stdout), { id: '42', event: 'tick', item: { seq: '42' } });
});

const answer =
  (status: number, code: string): Handler =>
  (_, response) =>
    void response
      .writeHead(status)
      .end(JSON.stringify({ error: { code, message: `it is ${code}`, request_id: 'r' } }));

void test('ends with the server’s words, and with 2 where the request is the mistake', async (t) => {
  const wrong = await live(await serve(t, answer(400, 'bad_request')), ['--where', 'price >']);
  t.match(wrong, { code: 2, stdout: '', stderr: 'mdp live: it is bad_request\n' });
  const stranger = await live(await serve(t, answer(401, 'unauthorized')), []);
  t.match(stranger, { code: 1, stderr: 'mdp live: it is unauthorized\n' });
  t.equal((await live('ftp://host', [])).code, 2);
  t.equal((await live('http://user:secret@host', [])).code, 2);
  t.equal((await live('http://127.0.0.1:1', ['--topic', 'orders'])).code, 2);
});
