import type { RouteOptions } from 'fastify';
import { METHODS } from 'node:http';
import { z } from 'zod';
import { ApiError, errorResponses, type ErrorCode } from './errors.ts';
import type { Api } from './routes.ts';

/** Methods by path, as they were registered. */
export type KnownRoutes = Map<string, Set<string>>;

/** All that Node reads; CONNECT is no request for a path. */
export const ALL_METHODS: readonly string[] = METHODS.filter((method) => method !== 'CONNECT');

/** What any route may answer, whatever it does. */
const ANYWHERE: readonly ErrorCode[] = [
  'bad_request',
  'timeout',
  'uri_too_long',
  'misdirected',
  'too_many_requests',
  'headers_too_large',
  'internal',
];
const WITH_SCOPE: readonly ErrorCode[] = ['unauthorized', 'forbidden', 'unavailable'];
const WITH_BODY: readonly ErrorCode[] = ['payload_too_large', 'unsupported_media_type'];

/**
 * What holds for every route: it declares a scope, takes no query that it does not describe, and describes the errors that
 * come before it.
 *
 * @throws Error for a route that declares no scope
 */
export function completeRoute(route: RouteOptions, known: KnownRoutes): void {
  const { url, config } = route;
  const methods = [route.method].flat();
  if (config?.scope === undefined) throw new Error(`${methods.join(', ')} ${url} declares no scope`);
  if (config.isRefusal === true) return;
  const knownMethods = known.get(url) ?? new Set();
  for (const method of methods) knownMethods.add(method);
  known.set(url, knownMethods);
  const schema = { ...route.schema };
  schema.querystring ??= z.strictObject({});
  const errors = errorResponses(
    ...ANYWHERE,
    ...(config.scope === null ? [] : WITH_SCOPE),
    ...(schema.body === undefined ? [] : WITH_BODY),
  );
  schema.response = { ...errors, ...(schema.response as Record<string, unknown> | undefined) };
  route.schema = schema;
}

/** 405 with Allow for the methods that a path does not have. */
export function refuseOtherMethods(app: Api, known: KnownRoutes): void {
  for (const [url, methods] of known) {
    const allow = [...methods].sort().join(', ');
    app.route({
      method: ALL_METHODS.filter((method) => !methods.has(method)),
      url,
      config: { scope: 'read', isRefusal: true },
      schema: { hide: true },
      // before a body is looked at
      preParsing: (request, reply) => {
        reply.header('allow', allow);
        throw new ApiError('method_not_allowed', `this path has no ${request.method}, but ${allow}`);
      },
      handler: () => {
        throw new Error('it was refused');
      },
    });
  }
}
