import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type Test, test } from 'tap';
import {
  type HealthServer,
  type Probe,
  type ReadyReason,
  startHealthServer,
} from '../../../../src/run/telemetry/http.ts';

async function start(
  t: Test,
  probe: Partial<Probe> = {},
): Promise<{ server: HealthServer; errors: unknown[] }> {
  const errors: unknown[] = [];
  const server = await startHealthServer({
    port: 0,
    host: '127.0.0.1',
    probe: {
      health: () => ({ failingThreads: [] }),
      ready: () => ({ reasons: [] }),
      metrics: () => Promise.resolve('a_metric 1\n'),
      ...probe,
    },
    onError: (error) => errors.push(error),
  });
  t.teardown(() => server.close());
  return { server, errors };
}

interface Answer {
  status: number | undefined;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

function ask(port: number, path: string, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, method, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

void test('/health and /ready answer as the seed prints it', async (t) => {
  const { server } = await start(t);
  const health = await ask(server.port, '/health');
  t.equal(health.status, 200);
  t.equal(health.body, '{"status":"ok"}');
  t.equal(health.headers['content-type'], 'application/json; charset=utf-8');
  t.equal((await ask(server.port, '/ready')).body, '{"status":"ready"}');
  t.equal((await ask(server.port, '/health?x=1')).status, 200);
});

void test('a thread that is stuck and a reason not to be ready are 503', async (t) => {
  const reasons: ReadyReason[] = ['database', 'gap'];
  const { server } = await start(t, {
    health: () => ({ failingThreads: ['writer-2'] }),
    ready: () => ({ reasons }),
  });
  const health = await ask(server.port, '/health');
  t.equal(health.status, 503);
  t.equal(health.body, '{"status":"failing","threads":["writer-2"]}');
  const ready = await ask(server.port, '/ready');
  t.equal(ready.status, 503);
  t.equal(ready.body, '{"status":"not_ready","reasons":["database","gap"]}');
});

void test('details come when asked for, with u64 values as strings', async (t) => {
  const asked: boolean[] = [];
  const { server } = await start(t, {
    ready: (verbose) => {
      asked.push(verbose);
      return { reasons: [], details: { position: 541_000_000n, edition: 'plain' } };
    },
  });
  t.equal((await ask(server.port, '/ready?verbose=0')).body, '{"status":"ready"}');
  t.equal(
    (await ask(server.port, '/ready?verbose=1')).body,
    '{"status":"ready","details":{"position":"541000000","edition":"plain"}}',
  );
  t.strictSame(asked, [false, true]);
});

void test('/metrics is Prometheus text', async (t) => {
  const { server } = await start(t);
  const { status, body, headers } = await ask(server.port, '/metrics');
  t.equal(status, 200);
  t.equal(body, 'a_metric 1\n');
  t.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  t.equal(headers['cache-control'], 'no-store');
});

void test('HEAD has the headers alone, other methods are 405, other paths 404', async (t) => {
  const { server } = await start(t);
  const head = await ask(server.port, '/health', 'HEAD');
  t.strictSame([head.status, head.body, head.headers['content-length']], [200, '', '15']);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const { status, headers, body } = await ask(server.port, '/ready', method);
    t.strictSame(
      [status, headers['allow'], body],
      [405, 'GET, HEAD', '{"error":"method_not_allowed"}'],
      method,
    );
  }
  for (const path of ['/', '/healthz', '/health/', '//', '/%', '/metrics/../health']) {
    t.equal((await ask(server.port, path)).status, 404, path);
  }
});

void test('a probe that throws is a 500 that tells nothing and is reported', async (t) => {
  const { server, errors } = await start(t, {
    health: () => {
      throw new Error('secret detail');
    },
    metrics: () => Promise.reject(new Error('secret detail')),
  });
  for (const path of ['/health', '/metrics']) {
    const { status, body } = await ask(server.port, path);
    t.strictSame([status, body], [500, '{"error":"internal"}']);
  }
  t.equal(errors.length, 2);
  t.equal((await ask(server.port, '/ready')).status, 200, 'the server goes on');
});

void test('a taken port is an error that names the port and the variable', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  const probe: Probe = {
    health: () => ({ failingThreads: [] }),
    ready: () => ({ reasons: [] }),
    metrics: () => Promise.resolve(''),
  };
  await t.rejects(startHealthServer({ port, host: '127.0.0.1', probe, onError: () => {} }), {
    name: 'PortError',
    message: `HEALTH_CHECK_PORT ${port} is taken by another program: end it or set another port`,
  });
});

void test('without a host it answers on every address of the machine', async (t) => {
  const server = await startHealthServer({
    port: 0,
    probe: {
      health: () => ({ failingThreads: [] }),
      ready: () => ({ reasons: [] }),
      metrics: () => Promise.resolve(''),
    },
    onError: () => {},
  });
  t.teardown(() => server.close());
  t.equal((await ask(server.port, '/health')).status, 200);
});

void test('close ends idle connections at once', async (t) => {
  const { server } = await start(t);
  const idle = connect(server.port, '127.0.0.1');
  await once(idle, 'connect');
  idle.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(idle, 'data');
  const ended = once(idle, 'close');
  await server.close();
  await ended;
  await t.rejects(ask(server.port, '/health'), { code: 'ECONNREFUSED' });
});
