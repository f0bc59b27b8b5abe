import helmet from '@fastify/helmet';
import fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { randomUUID } from 'node:crypto';
import type { Env } from '../../core/env.ts';
import { NO_METER, type Meter } from '../../stream/meter.ts';
import type { AccessControl, Principal } from './access.ts';
import type { Api, Routes } from './routes.ts';
import { describe } from './description.ts';
import { ApiError, bodyOf, toApiError } from './errors.ts';
import { Admission } from './guard/admission.ts';
import { Audit } from './guard/audit.ts';
import { FailedCredentials } from './guard/failures.ts';
import { AllowedHosts } from './guard/hosts.ts';
import { parseJson, textOf } from './guard/json-body.ts';
import { answerExpectation, answerParserError } from './guard/protocol-errors.ts';
import { limitRate, type ApiLimits } from './guard/rate-limit.ts';
import {
  checkMediaType,
  checkNoBody,
  checkShape,
  HEADERS_MAX,
  URL_CHARS_MAX,
} from './guard/request-shape.ts';
import { Signatures, type SignatureKeys } from './guard/signature.ts';
import { docsRoutes } from './routes/docs.ts';
import { ALL_METHODS, completeRoute, refuseOtherMethods, type KnownRoutes } from './route-rules.ts';

export type { Api, Routes };

export interface ApiServerOptions {
  access: AccessControl;
  routes: readonly Routes[];
  /** of the program, for the description */
  version: string;
  env: Env;
  meter?: Meter;
  /** that it listens on; default 127.0.0.1 */
  host?: string;
  /** null: those of the host and of this machine */
  allowedHosts?: readonly string[] | null;
  /** who may sign bodies; default nobody */
  signatureKeys?: SignatureKeys;
  /** default: DEFAULT_LIMITS */
  limits?: Partial<ApiLimits>;
}

export const DEFAULT_LIMITS: ApiLimits = {
  requestsPerSecondMax: 2_000,
  authFailuresPerMinuteMax: 30,
  connectionsMax: 1_000,
  trustedProxies: [],
  headersMs: 10_000,
  requestMs: 30_000,
};

const BODY_BYTES_MAX = 1024 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
/** Between two looks for requests that are too slow, ms: how late they are found. */
const TIMEOUT_CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 5_000;
const REQUESTS_PER_SOCKET_MAX = 100_000;

/** A client's own id is taken when it can stand in any log. */
const CLIENT_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Nothing may be loaded, run or framed: these are data. */
const HELMET = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  referrerPolicy: { policy: 'no-referrer' },
  xFrameOptions: { action: 'deny' },
  // only a server of TLS may say it, and one in front of us does
  strictTransportSecurity: false,
} as const;

/** The HTTP server with all its routes, not yet listening. */
export async function buildApi(options: ApiServerOptions): Promise<Api> {
  const { env, meter = NO_METER } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const audit = new Audit(env, meter);
  const app = newServer(limits, audit);
  const admission = new Admission({
    access: options.access,
    signatures: new Signatures(options.signatureKeys ?? new Map(), env.clock),
    failures: new FailedCredentials(limits.authFailuresPerMinuteMax, env.clock),
    audit,
  });
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(audit, error, request, reply));
  const known: KnownRoutes = new Map();
  app.addHook('onRoute', (route) => completeRoute(route, known));
  app.decorateRequest('principal', null as unknown as Principal);
  await app.register(helmet, HELMET);
  addHooks(
    app,
    admission,
    audit,
    new AllowedHosts(options.host ?? '127.0.0.1', options.allowedHosts ?? null),
  );
  readBodies(app, admission);
  await limitRate(app, limits);
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, (request) => {
    throw new ApiError('not_found', `there is no ${request.method} of this path`);
  });
  await describe(app, options.version);
  await app.register(async (scope) => docsRoutes(scope as Api));
  for (const add of options.routes) await app.register(async (scope) => add(scope as Api));
  refuseOtherMethods(app, known);
  await app.ready();
  return app;
}

function newServer({ connectionsMax, trustedProxies, headersMs, requestMs }: ApiLimits, audit: Audit): Api {
  const app: Api = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: requestMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_SOCKET_MAX,
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: headersMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // said by checkShape, in our words
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: URL_CHARS_MAX, ignoreTrailingSlash: false },
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    requestIdHeader: false,
    genReqId: ({ headers: { 'x-request-id': given } }) =>
      typeof given === 'string' && CLIENT_ID.test(given) ? given : randomUUID(),
    // what has come is answered; ApiStage ends what takes too long
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      dress(request, reply);
      reply.raw.setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
      reply.raw.setHeader('x-content-type-options', 'nosniff');
      reply.raw.setHeader('referrer-policy', 'no-referrer');
      answerError(audit, error, request, reply);
    },
    clientErrorHandler: (error, socket) =>
      answerParserError(error, socket, (status) => audit.unparsable(status)),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  // so that each is answered 405, whatever its body is
  for (const method of ALL_METHODS)
    if (method === 'QUERY' || !app.supportedMethods.includes(method))
      app.addHttpMethod(method, { overrideExisting: true });
  // one more than allowed is kept, so that it is seen: Node drops what is above
  app.server.maxHeadersCount = HEADERS_MAX + 1;
  app.server.maxConnections = connectionsMax;
  app.server.on('checkExpectation', answerExpectation);
  return app;
}

function addHooks(app: Api, admission: Admission, audit: Audit, hosts: AllowedHosts): void {
  app.addHook('onRequest', (request, reply, done) => {
    dress(request, reply);
    checkShape(request.raw, hosts);
    const principal = admission.admit(request);
    if (principal !== null) request.principal = principal;
    if (request.routeOptions.config.isRefusal !== true) checkNoBody(request.raw);
    done();
  });
  // a signed request whose body nobody read is not known to be anybody's
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.principal === null) throw new ApiError('unauthorized', 'the signature is not valid');
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    audit.answered(request, reply);
    done();
  });
  app.addHook('onClose', (_app, done) => {
    audit.close();
    done();
  });
}

/** On the raw answer, so that routes that write it themselves (streams) have it too; a header of the route's own wins. */
function dress(request: FastifyRequest, reply: FastifyReply): void {
  reply.raw.setHeader('x-request-id', request.id);
  reply.raw.setHeader('cache-control', 'no-store');
}

/** JSON alone; a signature is verified over the bytes before anything reads them. */
function readBodies(app: Api, admission: Admission): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      checkMediaType(request.headers);
      admission.verifyBody(request, body as Buffer);
      const text = textOf(body as Buffer);
      done(null, request.routeOptions.config.takesText === true ? text : parseJson(text));
    } catch (error) {
      done(error as Error);
    }
  });
}

function answerError(audit: Audit, error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const known = toApiError(error);
  if (known.code === 'internal') audit.failed(request, error);
  if (known.retryAfterSeconds !== null) reply.header('retry-after', known.retryAfterSeconds);
  if (known.code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  // of a route that failed halfway
  for (const name of ['etag', 'last-modified', 'content-disposition', 'content-encoding', 'link'])
    reply.removeHeader(name);
  void reply
    .code(known.status)
    .header('cache-control', 'no-store')
    .type('application/json; charset=utf-8')
    .serializer((body: unknown) => JSON.stringify(body))
    .send(bodyOf(known, request.id));
}
