import fastifyRateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { ANONYMOUS } from '../access.ts';
import { ApiError } from '../errors.ts';
import { networkOf } from './failures.ts';

export interface ApiLimits {
  /** of one token, or of one address without; 0: no limit */
  requestsPerSecondMax: number;
  /** wrong credentials of one address; 0: no limit */
  authFailuresPerMinuteMax: number;
  connectionsMax: number;
  /** addresses and networks whose X-Forwarded-For says who asks */
  trustedProxies: readonly string[];
  /** for the headers of a request, and for all of it, ms */
  headersMs: number;
  requestMs: number;
}

const WINDOW_MS = 1_000;
/** Tokens and addresses counted at once. */
const CLIENTS_MAX = 10_000;

/** Every route, and what is no route (`rateLimit()` as its hook). */
export async function limitRate(
  app: Pick<FastifyInstance, 'register'>,
  { requestsPerSecondMax }: ApiLimits,
): Promise<void> {
  await app.register(fastifyRateLimit, {
    global: true,
    max: requestsPerSecondMax === 0 ? Number.MAX_SAFE_INTEGER : requestsPerSecondMax,
    timeWindow: WINDOW_MS,
    cache: CLIENTS_MAX,
    keyGenerator: ({ principal, ip }) =>
      (principal ?? { name: ANONYMOUS }).name === ANONYMOUS ? networkOf(ip) : `token ${principal.name}`,
    addHeaders: NO_HEADERS,
    addHeadersOnExceeding: NO_HEADERS,
    errorResponseBuilder: (_request, { max, ttl }) =>
      new ApiError('too_many_requests', `more than ${max} requests a second`, {
        retryAfterSeconds: Math.max(1, Math.ceil(ttl / 1000)),
      }),
  });
}

const NO_HEADERS = {
  'x-ratelimit-limit': false,
  'x-ratelimit-remaining': false,
  'x-ratelimit-reset': false,
  'retry-after': false,
};
