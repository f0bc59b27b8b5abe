import { createHash } from 'node:crypto';
import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { envOf } from '../../../src/core/env.ts';
import { NO_PROVIDERS } from '../../../src/core/market/identity/providers.ts';
import type { WebhookTick } from '../../../src/core/market/webhook-tick.ts';
import { TokenAccess, type KnownToken } from '../../../src/serve/api/guard/token-access.ts';
import { ingestRoutes } from '../../../src/serve/api/routes/ingest.ts';
import { livenessRoutes } from '../../../src/serve/api/routes/liveness.ts';
import { buildApi, type Api, type ApiServerOptions, type Routes } from '../../../src/serve/api/server.ts';
import type { Meter } from '../../../src/stream/meter.ts';
import type { Scope } from '../../../src/serve/api/access.ts';

export interface TestApiOptions extends Partial<ApiServerOptions> {
  /** of API_TOKEN; default: it is open */
  tokens?: readonly string[];
  /** tokens of the table, with their scopes */
  stored?: Readonly<Record<string, readonly Scope[]>>;
  /** in place of the routes of the webhook and of liveness */
  routes?: readonly Routes[];
  accept?: (ticks: readonly WebhookTick[]) => Promise<void>;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export interface Asked {
  method?: string;
  path?: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
}

export interface LogEntry {
  level: string;
  message: string;
  fields: Readonly<Record<string, unknown>>;
}

/** The server of the API with its guard, on a port of loopback, in this process. */
export interface TestApi {
  app: Api;
  port: number;
  lines: LogEntry[];
  counts: Map<string, number>;
  taken: WebhookTick[];
  ask(asked?: Asked): Promise<Answer>;
  /** Sends bytes on a connection of their own, and resolves with all that comes back until the server closes it. */
  raw(bytes: string | Buffer, options?: { keepsOpen?: boolean }): Promise<string>;
}

export async function startApi(t: Test, options: TestApiOptions = {}): Promise<TestApi> {
  const lines: LogEntry[] = [];
  const counts = new Map<string, number>();
  const taken: WebhookTick[] = [];
  const env = envOf({ log: (level, message, fields) => lines.push({ level, message, fields }) });
  const access = new TokenAccess({ tokens: options.tokens ?? [], table: tableOf(options.stored ?? {}), env });
  await access.start();
  const accept = options.accept ?? ((ticks): Promise<void> => Promise.resolve(void taken.push(...ticks)));
  const app = await buildApi({
    access,
    version: '0.0.0',
    env,
    meter: meterOf(counts),
    ...options,
    routes: options.routes ?? [livenessRoutes, ingestRoutes({ accept }, NO_PROVIDERS)],
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    app.server.closeAllConnections();
    await app.close();
    await access.close();
  });
  const { port } = app.server.address() as AddressInfo;
  return {
    app,
    port,
    lines,
    counts,
    taken,
    ask: (asked) => ask(port, asked),
    raw: (bytes, given) => raw(port, bytes, given?.keepsOpen === true),
  };
}

/** The error of an answer; fails the test where it is not of the one shape. */
export function errorOf(
  t: Test,
  answer: Answer,
  what: string,
): { code: string; message: string; paths: string[] } {
  t.match(answer.headers['content-type'], /^application\/json; charset=utf-8$/, `${what}: type`);
  const body = JSON.parse(answer.text) as {
    error: {
      code: string;
      message: string;
      request_id: string;
      details?: { path: string; message: string }[];
    };
  };
  t.strictSame(Object.keys(body), ['error'], `${what}: one key`);
  const { code, message, request_id, details = [], ...more } = body.error;
  t.strictSame(more, {}, `${what}: nothing more`);
  t.type(message, 'string');
  t.equal(request_id, answer.headers['x-request-id'], `${what}: request_id is the header`);
  t.equal(answer.headers['x-content-type-options'], 'nosniff', `${what}: nosniff`);
  t.match(answer.headers['content-security-policy'], /default-src 'none'/, `${what}: policy`);
  t.equal(answer.headers['cache-control'], 'no-store', `${what}: no-store`);
  t.equal(answer.headers['access-control-allow-origin'], undefined, `${what}: no CORS`);
  return { code, message, paths: details.map(({ path }) => path) };
}

/** The last answer among the bytes of a connection. */
export function answerOf(bytes: string): Answer {
  const [, status = '0', rest = ''] = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n([\s\S]*)$/.exec(bytes) ?? [];
  const [head = '', text = ''] = rest.split(/\r\n\r\n([\s\S]*)/);
  const headers: IncomingHttpHeaders = {};
  for (const line of head.split('\r\n')) {
    const at = line.indexOf(':');
    if (at > 0) headers[line.slice(0, at).toLowerCase()] = line.slice(at + 1).trim();
  }
  return { status: Number(status), headers, text };
}

export function ask(
  port: number,
  { method = 'GET', path = '/health', headers = {}, body }: Asked = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function raw(port: number, bytes: string | Buffer, keepsOpen: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // what came before it closed is what counts
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(chunks).toString()));
    if (keepsOpen) socket.write(bytes);
    else socket.end(bytes);
  });
}

function tableOf(stored: Readonly<Record<string, readonly Scope[]>>): {
  readValid(): Promise<KnownToken[]>;
  touch(): Promise<void>;
} {
  const tokens = Object.entries(stored).map(([token, scopes], id) => ({
    id,
    name: `stored-${scopes.join('-')}`,
    hash: createHash('sha256').update(token).digest(),
    scopes,
    expiresAt: null,
  }));
  return { readValid: () => Promise.resolve(tokens), touch: () => Promise.resolve() };
}

function meterOf(counts: Map<string, number>): Meter {
  return {
    count: (name, labels, by = 1) => {
      const key = `${name} ${Object.values(labels).join(' ')}`;
      counts.set(key, (counts.get(key) ?? 0) + by);
    },
    set: () => {},
    observe: () => {},
  };
}
