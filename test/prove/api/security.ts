import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { connect } from 'node:net';
import { INJECTIONS } from '../../support/api/injections.ts';
import { answerOf, ask, type Answer } from '../../support/api/server.ts';
import { SHAPES } from '../../support/api/shapes.ts';
import { withClient } from '../../support/bus/postgres-bus.ts';
import { until } from '../../support/until.ts';
import type { Figures, ScenarioContext } from '../harness.ts';
import { API_TOKEN, HMAC_SECRET, serveApi, type ServedApi } from './program.ts';

export interface SecuritySize {
  /** times that every attack is made */
  rounds: number;
  /** connections that say nothing, and as many that say a byte now and then */
  slowClients: number;
}

interface Parameter {
  name: string;
  in: 'path' | 'query';
}

interface Operation {
  method: string;
  path: string;
  parameters: readonly Parameter[];
}

interface Description {
  paths: Record<string, Record<string, { parameters?: Parameter[] }>>;
}

const SECRETS = [API_TOKEN, HMAC_SECRET, 'canary-guess'];
const REFUSED_MIN = 400;

/**
 * Everything that a stranger could send: no credential and wrong ones, texts for interpreters in each parameter of each operation,
 * bytes that are no HTTP, slow clients. Throws unless all of it is refused in the one shape (a text may also be a value without
 * a result), others are answered meanwhile, and no line of the log holds a secret.
 */
export async function refusesStrangers(
  context: ScenarioContext,
  { rounds, slowClients }: SecuritySize,
): Promise<Figures> {
  const api = await serveApi(await context.database(), {
    settings: 'api:\n  rate_limit: 0\n  auth_failures: 0\n',
    env: { ALLOWED_HOSTS: 'localhost', ENV: 'production' },
  });
  const slow = holdOpen(api.port, slowClients);
  const others = new Others(api);
  const counts = {
    'without or with wrong credentials': 0,
    'texts for interpreters': 0,
    'bytes that are no HTTP': 0,
  };
  try {
    const operations = await operationsOf(api);
    const before = await contentOf(api);
    for (let round = 0; round < rounds; round += 1) {
      counts['without or with wrong credentials'] += await tryCredentials(api, operations);
      counts['texts for interpreters'] += await tryTexts(api, operations);
      counts['bytes that are no HTTP'] += await tryShapes(api);
      context.say(`round ${round + 1} of ${rounds}`);
    }
    assert.deepEqual(await contentOf(api), before, 'the tables are as they were');
    await until('slow clients are cut off', () => slow.every(({ destroyed }) => destroyed));
    const served = await others.stop();
    assert.equal(api.program.end, null, 'it still runs');
    const leaks = api.lines.filter((line) => SECRETS.some((secret) => line.includes(secret)));
    assert.deepEqual(leaks, [], 'no line holds a secret');
    assert.deepEqual(
      api.lines.filter((line) => line.includes('"level":"error"')),
      [],
      'nothing failed',
    );
    return {
      ...counts,
      'slow clients cut off': slow.length,
      'others answered meanwhile': served,
      'log lines looked at': api.lines.length,
      '5xx': 0,
    };
  } finally {
    await others.stop();
    for (const socket of slow) socket.destroy();
    await api.stop();
  }
}

async function operationsOf(api: ServedApi): Promise<Operation[]> {
  const { paths } = JSON.parse((await api.ask({ path: '/openapi.json' })).text) as Description;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      // an operation that never ends is not asked this way
      .filter(() => !/\/(?:stream|ws)$/.test(path))
      .map(([method, { parameters = [] }]) => ({ method: method.toUpperCase(), path, parameters })),
  );
}

/** Neither a credential nor a wrong one opens anything but /health. */
async function tryCredentials(api: ServedApi, operations: readonly Operation[]): Promise<number> {
  const now = Math.floor(Date.now() / 1000);
  const forged = createHmac('sha256', 'canary-guess').update(`${now}.{}`).digest('hex');
  const wrong: Record<string, string>[] = [
    {},
    { authorization: 'Bearer canary-guess' },
    { authorization: `Bearer ${API_TOKEN}x` },
    { authorization: `Basic ${Buffer.from(`admin:${API_TOKEN}`).toString('base64')}` },
    { 'x-api-key': 'canary-guess' },
    { 'x-signature': `t=${now},id=feeder,v1=${forged}` },
    { cookie: `token=${API_TOKEN}` },
  ];
  const docs = { parameters: [], method: 'GET' };
  const all = [
    ...operations,
    { ...docs, path: '/docs' },
    { ...docs, path: '/openapi.json' },
    { ...docs, path: '/nothing' },
  ];
  for (const { method, path } of all.filter(({ path }) => path !== '/health'))
    for (const credential of wrong) {
      const body = method === 'GET' ? {} : { body: '{}' };
      const headers = {
        ...credential,
        host: 'localhost',
        ...(method === 'GET' ? {} : { 'content-type': 'application/json' }),
      };
      const answer = await ask(api.port, {
        method,
        path: path.replaceAll(/\{\w+\}/g, '1'),
        headers,
        ...body,
      });
      assert.equal(answer.status, 401, `${method} ${path} with ${Object.keys(credential).join()}`);
      checkShape(answer, path);
    }
  return all.length * wrong.length;
}

/** Every text in every parameter of every operation: a value, or 400. */
async function tryTexts(api: ServedApi, operations: readonly Operation[]): Promise<number> {
  let tried = 0;
  for (const operation of operations)
    for (const parameter of operation.parameters)
      for (const text of INJECTIONS) {
        const answer = await api.ask({
          method: operation.method,
          path: pathWith(operation, parameter, text),
          headers: { host: 'localhost' },
        });
        const what = `${operation.path} ${parameter.name}=${JSON.stringify(text).slice(0, 60)}`;
        assert.ok(answer.status < 500, `${what}: ${answer.status} ${answer.text.slice(0, 200)}`);
        assert.equal(answer.headers['x-injected'], undefined, what);
        if (answer.status >= REFUSED_MIN) checkShape(answer, what);
        tried += 1;
      }
  return tried;
}

function pathWith({ path, parameters }: Operation, attacked: Parameter, text: string): string {
  const value = encode(text);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    attacked.in === 'path' && attacked.name === name ? value : '1',
  );
  const query = new Map<string, string>();
  for (const { name, in: place } of parameters)
    if (place === 'query' && SAMPLES[name] !== undefined) query.set(name, SAMPLES[name]);
  if (attacked.in === 'query') query.set(attacked.name, value);
  const given = [...query].map(([name, of]) => `${name}=${of}`).join('&');
  return given === '' ? filled : `${filled}?${given}`;
}

/** Without these an operation answers 400 before it looks at anything else. */
const SAMPLES: Readonly<Record<string, string>> = {
  provider: 'binance',
  symbol: 'BTC',
  interval: '1m',
  start: '2025-10-31',
  limit: '2',
};

/** A lone surrogate has no UTF-8: its bytes are sent as they would be. */
function encode(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return '%ED%A0%80';
  }
}

async function tryShapes(api: ServedApi): Promise<number> {
  for (const [what, shape] of SHAPES) {
    const answer = answerOf(await send(api.port, shape.replaceAll(/Bearer \S+/g, `Bearer ${API_TOKEN}`)));
    assert.equal(answer.status, 400, what);
    checkShape({ ...answer, text: answer.text.slice(0, Number(answer.headers['content-length'])) }, what);
  }
  return SHAPES.length;
}

function checkShape({ headers, text, status }: Answer, what: string): void {
  const { error } = JSON.parse(text) as {
    error?: { code?: unknown; message?: unknown; request_id?: unknown };
  };
  assert.equal(typeof error?.code, 'string', what);
  assert.equal(typeof error?.message, 'string', what);
  assert.equal(error?.request_id, headers['x-request-id'], what);
  assert.equal(headers['x-content-type-options'], 'nosniff', what);
  assert.match(String(headers['content-security-policy']), /default-src 'none'/, what);
  assert.equal(headers['access-control-allow-origin'], undefined, what);
  assert.ok(status < 500, `${what}: ${status}`);
}

function send(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true }, () => socket.end(bytes));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
  });
}

/** Half of them say nothing, the others a byte of a header every second: both are in the way until they are cut off. */
function holdOpen(port: number, count: number): ReturnType<typeof connect>[] {
  return Array.from({ length: count }, (_, at) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => {});
    socket.on('data', () => {});
    if (at % 2 === 0) return socket;
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    const drip = setInterval(() => socket.write('x'), 1_000);
    socket.on('close', () => clearInterval(drip));
    return socket;
  });
}

/** What the tables that an injection would aim at hold. */
function contentOf({ databaseUrl }: ServedApi): Promise<unknown> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query(
      `SELECT (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM tick_data) AS tick_data,
              (SELECT count(*) FROM md_ticks) AS md_ticks, (SELECT count(*) FROM api_tokens) AS tokens,
              (SELECT count(*) FROM pg_class) AS relations`,
    );
    return rows[0] as unknown;
  });
}

/** Somebody who asks all the time, one request after the other, as long as it lasts. */
class Others {
  readonly #asking: Promise<number>;
  #isOver = false;

  constructor(api: ServedApi) {
    this.#asking = this.#ask(api);
    this.#asking.catch(() => {});
  }

  /** Returns how often there was an answer. Rejects when there was none, or a wrong one. */
  stop(): Promise<number> {
    this.#isOver = true;
    return this.#asking;
  }

  async #ask(api: ServedApi): Promise<number> {
    let answered = 0;
    while (!this.#isOver) {
      const { status } = await api.ask({ path: '/v1/ticks/BTC/latest', headers: { host: 'localhost' } });
      assert.equal(status, 200, 'others are answered');
      answered += 1;
    }
    return answered;
  }
}
