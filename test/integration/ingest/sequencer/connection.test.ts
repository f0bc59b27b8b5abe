import { setTimeout as delay } from 'node:timers/promises';
import { createServer, constants, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { test, type Test } from 'tap';
import { envOf } from '../../../../src/core/env.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { SequencerConnection, type StreamFailure } from '../../../../src/ingest/sequencer/connection.ts';
import type { StreamState } from '../../../../src/ingest/sequencer/stream-host.ts';
import { TickStream } from '../../../../src/ingest/sequencer/tick-stream.ts';
import { until } from '../../../support/until.ts';
import { frame } from '../../../unit/ingest/gaps/harness.ts';

const MESSAGE_BYTES_MAX = 1_000;

/** A plaintext HTTP/2 server that does with each call what it is told. */
async function serve(
  t: Test,
  answer: (stream: ServerHttp2Stream, path: string) => void,
): Promise<{ target: string; tls: null; messageBytesMax: number }> {
  const server: Http2Server = createServer();
  server.on('session', (session) => {
    session.on('error', () => {});
    t.teardown(() => session.destroy());
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.resume();
    answer(stream, String(headers[':path']));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { target: `127.0.0.1:${port}`, tls: null, messageBytesMax: MESSAGE_BYTES_MAX };
}

const HEADERS = { ':status': 200, 'content-type': 'application/grpc+proto' };

function refuse(stream: ServerHttp2Stream, text: string): void {
  stream.respond({ ...HEADERS, 'grpc-status': '8', 'grpc-message': text }, { endStream: true });
}

function message(stream: ServerHttp2Stream, bytes: Uint8Array, encoding?: 'gzip'): void {
  const body = encoding === 'gzip' ? gzipSync(bytes) : bytes;
  const prefix = Buffer.alloc(5);
  prefix[0] = encoding === 'gzip' ? 1 : 0;
  prefix.writeUInt32BE(body.length, 1);
  stream.respond({ ...HEADERS, ...(encoding === undefined ? {} : { 'grpc-encoding': encoding }) });
  stream.write(Buffer.concat([prefix, body]));
}

async function failures(t: Test, answer: (stream: ServerHttp2Stream) => void): Promise<StreamFailure[]> {
  const connection = new SequencerConnection(await serve(t, answer), systemClock);
  t.teardown(() => connection.close());
  const streamed = await new Promise<StreamFailure>((resolve) =>
    connection.stream(1n, { frame: () => {}, ended: resolve }),
  );
  const called = await connection.tick(1n).then(
    () => t.fail('GetTick has to fail'),
    (error: StreamFailure & Error) => ({
      code: error.code,
      text: error.message,
      isTooLarge: error.isTooLarge,
    }),
  );
  return [streamed, called as StreamFailure];
}

void test('a message above GRPC_MAX_MESSAGE_BYTES is known by what grpc-js says of it', async (t) => {
  for (const encoding of [undefined, 'gzip'] as const) {
    for (const failure of await failures(t, (stream) => message(stream, Buffer.alloc(5_000), encoding)))
      t.match(failure, { code: 8, isTooLarge: true }, `${encoding}: ${failure.text}`);
  }
});

void test('RESOURCE_EXHAUSTED of a server is no message that is too large, whatever its words', async (t) => {
  for (const text of [
    'too many subscriptions',
    'Received message larger than max (30 vs 20)',
    `Received message larger than max (20 vs ${MESSAGE_BYTES_MAX})`,
    'grpc: received message larger than max (5000 vs. 1000)',
    'Received message larger than max',
  ]) {
    for (const failure of await failures(t, (stream) => refuse(stream, text)))
      t.match(failure, { code: 8, isTooLarge: false }, text);
  }
  for (const failure of await failures(t, (stream) => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)))
    t.match(failure, { code: 8, isTooLarge: false }, failure.text);
});

void test('a stream that the server refuses for its limits is down, asked for less and less, and goes on', async (t) => {
  for (const calm of [false, true]) {
    const paths: string[] = [];
    const states: StreamState[] = [];
    const lines: string[] = [];
    let isLimited = true;
    let frames = 0;
    const source = await serve(t, (stream, path) => {
      if (path.endsWith('GetStatus')) return refuse(stream, 'too many requests');
      paths.push(path);
      if (!isLimited) message(stream, frame(1n));
      else if (calm) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      else refuse(stream, 'too many subscriptions');
    });
    const env = envOf({ log: (level, text) => void (level !== 'info' && lines.push(text)) });
    const limits = {
      stallMs: 60_000,
      headMs: 60_000,
      backoff: { firstMs: 1, maxMs: 1 },
      limited: { firstMs: 20, maxMs: 200 },
    };
    const stream = new TickStream(source, limits, env, {
      frame: () => (frames += 1),
      disconnected: () => {},
      resumeAt: () => 1n,
      had: () => 0n,
      highest: () => null,
      waiting: () => false,
      state: (state) => states.push(state),
      head: () => {},
      compare: async () => ({ kind: 'equal' }),
      forked: () => {},
      headReached: () => {},
    });
    t.teardown(() => stream.stop());
    const bornMs = performance.now();
    stream.start(false);
    await until('it has asked several times', () => paths.length >= 5);
    t.ok(performance.now() - bornMs >= 10 + 20 + 40 + 80, 'each wait is longer than the one before it');
    isLimited = false;
    await until('a tick came', () => frames > 0);
    t.notOk(states.some(({ kind }) => kind === 'poison'));
    t.ok(states.some((state) => state.kind === 'down' && state.code === 8));
    t.strictSame([...new Set(lines)], ['Stream error (will reconnect)']);
    t.notOk(
      paths.some((path) => path.endsWith('GetTick')),
      'no tick is searched for',
    );
    stream.stop();
    await delay(0);
  }
});
