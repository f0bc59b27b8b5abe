import type { IncomingHttpHeaders } from 'node:http';
import { ApiError } from '../errors.ts';
import type { AllowedHosts } from './hosts.ts';

/** What is looked at before anything else. */
export interface RawRequest {
  method?: string | undefined;
  url?: string | undefined;
  httpVersion: string;
  headers: IncomingHttpHeaders;
  /** names and values by turns */
  rawHeaders: readonly string[];
  socket: { localAddress?: string | undefined };
}

export const URL_CHARS_MAX = 8 * 1024;
export const HEADERS_MAX = 100;

const READS = new Set(['GET', 'HEAD']);
/** Of which Node takes the first of several, where another server on the way may take the last. */
const SINGLE = new Set(['host', 'authorization', 'content-type', 'content-length', 'origin', 'x-api-key']);
const HAS_NUL = /%00|\0/i;

/**
 * Refuses what no honest client sends: another server's name, a page of another site that wants to change something, several
 * headers of one meaning.
 *
 * @throws ApiError
 */
export function checkShape(request: RawRequest, hosts: AllowedHosts): void {
  const { url = '', rawHeaders } = request;
  if (url.length > URL_CHARS_MAX)
    throw new ApiError('uri_too_long', `the address is longer than ${URL_CHARS_MAX} characters`);
  if (rawHeaders.length > 2 * HEADERS_MAX)
    throw new ApiError('headers_too_large', `there are more than ${HEADERS_MAX} headers`);
  if (!/^1\.[01]$/.test(request.httpVersion)) throw new ApiError('bad_request', 'this is HTTP/1.1');
  checkRepeated(rawHeaders);
  checkHost(request, hosts);
  if (!url.startsWith('/')) throw new ApiError('bad_request', 'the address must be a path');
  if (HAS_NUL.test(url)) throw new ApiError('bad_request', 'the address holds a NUL');
}

/** Of a route that reads: what nobody reads could be the next request to somebody. @throws ApiError */
export function checkNoBody({ method = '', headers }: RawRequest): void {
  if (READS.has(method) && hasBody(headers))
    throw new ApiError('bad_request', `a ${method} has no body here`);
}

function checkHost({ method = '', headers, socket }: RawRequest, hosts: AllowedHosts): void {
  const { host, origin } = headers;
  if (host === undefined || host === '') throw new ApiError('bad_request', 'the Host header is missing');
  if (!hosts.allows(host, socket.localAddress))
    throw new ApiError(
      'misdirected',
      'this server does not go by that Host: ALLOWED_HOSTS names those it does',
    );
  const changes = !READS.has(method) || headers.upgrade !== undefined;
  if (changes && origin !== undefined && !hosts.allowsOrigin(origin, host))
    throw new ApiError('forbidden', 'pages of other sites may not do this');
}

function checkRepeated(rawHeaders: readonly string[]): void {
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at].toLowerCase();
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) throw new ApiError('bad_request', `the header ${name} is there twice`);
    seen.add(name);
  }
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** @throws ApiError unsupported_media_type for another character set, or a body that is packed */
export function checkMediaType({
  'content-type': type = '',
  'content-encoding': packing,
}: IncomingHttpHeaders): void {
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type)?.[1] ?? 'utf-8';
  if (!/^utf-?8$/i.test(charset)) throw new ApiError('unsupported_media_type', 'the body must be UTF-8');
  if (packing !== undefined && packing.toLowerCase() !== 'identity')
    throw new ApiError('unsupported_media_type', 'the body must not be compressed');
}
