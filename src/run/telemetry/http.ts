/** /health, /ready and /metrics on HEALTH_CHECK_PORT, /metrics of the stages on METRICS_PORT. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Why a running daemon is not ready. */
export type ReadyReason =
  'database' | 'schema' | 'stream' | 'stalled' | 'behind' | 'gap' | 'standby' | 'poison' | 'forked';

export interface Probe {
  /** names of the threads that neither make progress nor wait for a known reason; empty = healthy */
  health(): { failingThreads: readonly string[] };
  /** no reasons = ready; details are requested only by ?verbose=1 and may hold BigInt, sent as strings */
  ready(verbose: boolean): { reasons: readonly ReadyReason[]; details?: Readonly<Record<string, unknown>> };
  /** Prometheus' text format */
  metrics(): Promise<string>;
}

export interface HealthServerOptions {
  /** 0 = any free port */
  port: number;
  /** default all addresses: load balancers ask from other machines, neighbouring containers from other networks */
  host?: string;
  probe: Probe;
  /** a probe that threw; the reply says only that it failed */
  onError: (error: unknown) => void;
}

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

/** An address that cannot be listened on: an operator error, with the variable to change. */
export class PortError extends Error {
  override readonly name = 'PortError';
}

const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
const METRICS_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 256;
const HEADER_BYTES_MAX = 8 * 1024;
const REQUESTS_PER_SOCKET_MAX = 1000;

const JSON_TYPE = 'application/json; charset=utf-8';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface MetricsServerOptions {
  port: number;
  /** Prometheus' text format */
  metrics(): Promise<string>;
  onError: (error: unknown) => void;
}

/** @throws PortError when the port is taken or not allowed */
export function startHealthServer({ probe, ...options }: HealthServerOptions): Promise<HealthServer> {
  return startServer({
    ...options,
    variable: 'HEALTH_CHECK_PORT',
    routes: {
      '/health': () => healthReply(probe),
      '/ready': (query) => readyReply(probe, new URLSearchParams(query).get('verbose') === '1'),
      '/metrics': () => metricsReply(probe.metrics()),
    },
  });
}

/** @throws PortError when the port is taken or not allowed */
export function startMetricsServer(options: MetricsServerOptions): Promise<HealthServer> {
  return startServer({
    ...options,
    variable: 'METRICS_PORT',
    routes: { '/metrics': () => metricsReply(options.metrics()) },
  });
}

interface ServerOptions extends Pick<HealthServerOptions, 'port' | 'host' | 'onError'> {
  /** which setting the port came from, for messages */
  variable: string;
  /** by path; they get the query string without its question mark */
  routes: Readonly<Record<string, (query: string) => Reply | Promise<Reply>>>;
}

async function startServer(options: ServerOptions): Promise<HealthServer> {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    },
    (request, response) => void answer(options, request, response),
  );
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = REQUESTS_PER_SOCKET_MAX;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, close: () => close(server) };
}

interface Reply {
  status: number;
  type: string;
  body: string;
  headers?: Record<string, string>;
}

async function answer(
  options: ServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let reply: Reply;
  try {
    reply = await replyTo(options.routes, request);
  } catch (error) {
    options.onError(error);
    reply = json(500, { error: 'internal' });
  }
  response.writeHead(reply.status, {
    'content-type': reply.type,
    'content-length': Buffer.byteLength(reply.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...reply.headers,
  });
  // Node omits the body in answers to HEAD.
  response.end(reply.body);
}

async function replyTo(routes: ServerOptions['routes'], request: IncomingMessage): Promise<Reply> {
  const [path, query] = splitTarget(request.url ?? '/');
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (route === undefined) return json(404, { error: 'not_found', paths: Object.keys(routes) });
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { ...json(405, { error: 'method_not_allowed' }), headers: { allow: 'GET, HEAD' } };
  }
  return route(query);
}

async function metricsReply(rendering: Promise<string>): Promise<Reply> {
  const metrics = await within(METRICS_TIMEOUT_MS, rendering);
  return metrics === null
    ? json(503, { error: 'metrics_timeout' })
    : { status: 200, type: METRICS_TYPE, body: metrics };
}

function healthReply(probe: Probe): Reply {
  const { failingThreads } = probe.health();
  return failingThreads.length === 0
    ? json(200, { status: 'ok' })
    : json(503, { status: 'failing', threads: failingThreads });
}

function readyReply(probe: Probe, verbose: boolean): Reply {
  const { reasons, details } = probe.ready(verbose);
  const shown = verbose ? { details: details ?? {} } : {};
  return reasons.length === 0
    ? json(200, { status: 'ready', ...shown })
    : json(503, { status: 'not_ready', reasons, ...shown });
}

function json(status: number, body: unknown): Reply {
  const text = JSON.stringify(body, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return { status, type: JSON_TYPE, body: text };
}

/** The target is untrusted text: `new URL` would throw on some of it. */
function splitTarget(target: string): [path: string, query: string] {
  const mark = target.indexOf('?');
  return mark < 0 ? [target, ''] : [target.slice(0, mark), target.slice(mark + 1)];
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(resolve, limitMs, null);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function listen(server: Server, { port, host, variable }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(error, variable, port)));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.removeAllListeners('error');
      // A socket that fails later (too many open files) costs that connection and must not end the process.
      server.on('error', () => {});
      resolve();
    });
  });
}

function portError(error: NodeJS.ErrnoException, variable: string, port: number): Error {
  if (error.code === 'EADDRINUSE') {
    return new PortError(`${variable} ${port} is taken by another program: end it or set another port`);
  }
  if (error.code === 'EACCES') {
    return new PortError(`${variable} ${port} is not allowed for this user: set a port above 1023`);
  }
  return new PortError(`${variable} ${port} cannot be listened on (${error.code ?? error.message})`);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
