import fastifySwagger from '@fastify/swagger';
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from 'fastify';
import {
  hasZodFastifySchemaValidationErrors,
  isResponseSerializationError,
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import type { Env } from '../../core/env.ts';
import { mayDo, type AccessControl, type Principal, type Scope } from './access.ts';
import { ApiError, bodyOf, codeOfStatus } from './errors.ts';

/** What routes are registered on. */
export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Adds a family of routes; what they need they were given when this was made. */
export type Routes = (api: Api) => void | Promise<void>;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** what a credential must allow; null: nothing, the route answers everybody. Every route declares it */
    scope?: Scope | null;
  }
  interface FastifyRequest {
    principal: Principal;
  }
}

export interface ApiServerOptions {
  access: AccessControl;
  routes: readonly Routes[];
  /** of the program, for the description */
  version: string;
  env: Env;
}

const BODY_BYTES_MAX = 1024 * 1024;
const URL_CHARS_MAX = 8 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 5_000;
const REQUESTS_PER_SOCKET_MAX = 100_000;

/** The HTTP server with all its routes, not yet listening. */
export async function buildApi(options: ApiServerOptions): Promise<Api> {
  const { env, access, routes } = options;
  const app: Api = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: REQUESTS_PER_SOCKET_MAX,
    http: { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: HEADERS_TIMEOUT_MS },
    routerOptions: { maxParamLength: URL_CHARS_MAX, ignoreTrailingSlash: false },
    forceCloseConnections: true,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(env, error, request, reply));
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', `there is no ${request.method} ${pathOf(request)}`);
  });
  app.addHook('onRoute', ({ path, method, config }) => {
    if (config?.scope === undefined) throw new Error(`${String(method)} ${path} declares no scope`);
  });
  app.decorateRequest('principal', null as unknown as Principal);
  app.addHook('onRequest', (request, _reply, done) => {
    request.principal = admit(request, access);
    done();
  });
  await describe(app, options.version);
  for (const add of routes) await app.register(async (scope) => add(scope as Api));
  await app.ready();
  return app;
}

/** @throws ApiError unauthorized or forbidden */
function admit(request: FastifyRequest, access: AccessControl): Principal {
  const scope = request.routeOptions.config.scope;
  if (scope === null) return access.anonymous;
  const principal = principalOf(request, access);
  if (principal === null) throw new ApiError('unauthorized', 'this needs a bearer token');
  // a path that does not exist, which is told only to those who may be here at all
  if (scope === undefined) return principal;
  if (!mayDo(principal, scope)) throw new ApiError('forbidden', `the token does not have the scope ${scope}`);
  return principal;
}

function principalOf(request: FastifyRequest, access: AccessControl): Principal | null {
  const { authorization } = request.headers;
  if (authorization === undefined) return access.isOpen ? access.anonymous : null;
  const match = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization);
  const principal = match === null ? null : access.authenticate(match[1]);
  if (principal === null) throw new ApiError('unauthorized', 'the bearer token is not valid');
  return principal;
}

/** OpenAPI 3.1, made of the routes' own schemas. */
async function describe(app: Api, version: string): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Market Data Pipeline',
        version,
        description: 'Chain ticks, market ticks, bars and signals: queries, the webhook and the live path.',
      },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  app.get('/openapi.json', { config: { scope: 'read' }, schema: { hide: true } }, (_request, reply) =>
    reply.type('application/json').send(JSON.stringify(app.swagger())),
  );
}

function answerError(env: Env, error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const known = toApiError(error);
  if (known.code === 'internal')
    env.log('error', 'A request failed', {
      request_id: request.id,
      method: request.method,
      path: pathOf(request),
      err: error,
    });
  if (known.retryAfterSeconds !== null) reply.header('retry-after', known.retryAfterSeconds);
  if (known.code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  void reply
    .code(known.status)
    .type('application/json; charset=utf-8')
    .serializer((body: unknown) => JSON.stringify(body))
    .send(bodyOf(known, request.id));
}

function toApiError(error: FastifyError): ApiError {
  if (error instanceof ApiError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const where = error.validationContext ?? 'request';
    const details = error.validation.map(({ instancePath, message }) => ({
      path: `${where}${instancePath.replaceAll('/', '.')}`,
      message: message ?? 'is not valid',
    }));
    return new ApiError('bad_request', 'the request is not as the description says', { details });
  }
  if (isResponseSerializationError(error))
    return new ApiError('internal', 'the answer is not as the description says', { cause: error });
  const status = error.statusCode ?? 500;
  const code = codeOfStatus(status);
  return new ApiError(code, code === 'internal' ? 'something failed here' : error.message, { cause: error });
}

/** Without the query, which may hold what no log should. */
function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0];
}
