import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Env } from '../../../core/env.ts';
import type { Meter } from '../../../stream/meter.ts';
import type { Principal } from '../access.ts';

const SUMMARY_MS = 10_000;
const FORBIDDEN = 403;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']);
const READS = new Set(['GET', 'HEAD']);
/** The route of what has none: unknown paths, bytes that are no HTTP. */
const NO_ROUTE = '_none';

/** Why a credential did not let a request in. */
export type AuthFailure = 'missing' | 'invalid' | 'scope' | 'blocked';

/** Requests of one kind since the last summary. */
interface Sum {
  principal: string;
  route: string;
  status: number;
  requests: number;
}

/**
 * What is kept of requests: metrics of all, a line for each that changes something and for each credential that is refused.
 * Nothing of it holds a query or a header. Frequent requests, as those of the webhook, have a line every ten seconds, and so has
 * a token that is refused again and again.
 */
export class Audit {
  readonly #env: Env;
  readonly #meter: Meter;
  readonly #sums = new Map<string, Sum>();
  readonly #timer: NodeJS.Timeout;

  constructor(env: Env, meter: Meter) {
    this.#env = env;
    this.#meter = meter;
    this.#timer = setInterval(() => this.#summarise(), SUMMARY_MS).unref();
  }

  /** Once its answer is sent. */
  answered(request: FastifyRequest, reply: FastifyReply): void {
    const route = routeOf(request);
    const method = METHODS.has(request.method) ? request.method : '_other';
    this.#meter.count('http_requests_total', { route, method, status: String(reply.statusCode) });
    this.#meter.observe('http_request_duration_seconds', { route }, reply.elapsedTime / 1000);
    const { isFrequent, isRefusal } = request.routeOptions.config;
    const principal = (request.principal as Principal | null)?.name ?? null;
    // without a principal it was refused, and a path or method that does not exist changes nothing
    if (principal === null || READS.has(request.method) || route === NO_ROUTE || isRefusal === true) return;
    if (isFrequent === true) this.#add({ principal, route, status: reply.statusCode });
    else
      this.#env.log('info', 'The API was asked to change something', {
        ...this.#who(request),
        principal,
        status: reply.statusCode,
        duration_ms: Math.round(reply.elapsedTime),
      });
  }

  /** A credential that is wrong, or may not do this; without one there is nothing to tell. */
  refused(request: FastifyRequest, reason: AuthFailure, principal: string | null = null): void {
    this.#meter.count('http_auth_failures_total', { reason });
    // of a blocked address the line has been written: others would only fill the log
    if (reason === 'missing' || reason === 'blocked') return;
    if (principal === null || !this.#add({ principal, route: routeOf(request), status: FORBIDDEN }))
      this.#env.log('warn', 'The API refused a credential', { ...this.#who(request), reason, principal });
  }

  /** Bytes that did not become a request. */
  unparsable(status: number): void {
    this.#meter.count('http_requests_total', { route: NO_ROUTE, method: '_other', status: String(status) });
  }

  /** A request that failed for a reason of ours. */
  failed(request: FastifyRequest, err: unknown): void {
    this.#env.log('error', 'A request failed', { ...this.#who(request), err });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#summarise();
  }

  /** Returns whether there was one like it since the last summary. */
  #add(of: Omit<Sum, 'requests'>): boolean {
    const key = `${of.principal} ${of.status} ${of.route}`;
    const sum = this.#sums.get(key) ?? { ...of, requests: 0 };
    sum.requests += 1;
    this.#sums.set(key, sum);
    return sum.requests > 1;
  }

  #summarise(): void {
    for (const sum of this.#sums.values())
      // the first refusal has its line
      if (sum.status !== FORBIDDEN || sum.requests > 1)
        this.#env.log('info', 'Requests of the last seconds', { ...sum });
    this.#sums.clear();
  }

  #who(request: FastifyRequest): Record<string, unknown> {
    const { id, method, ip } = request;
    return { request_id: id, method, route: routeOf(request), address: ip };
  }
}

/** As it was registered: what a client put into the path is no label, and no log line. */
function routeOf(request: FastifyRequest): string {
  return request.routeOptions.url ?? NO_ROUTE;
}
