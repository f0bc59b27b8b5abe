import { backoffMs, type BackoffLimits } from '../core/retry.ts';
import type { ApiError } from './api-error.ts';

/** Tries of one request, the first included. */
export const ATTEMPTS_MAX = 5;
/** Between the tries of a request. */
const REQUEST_BACKOFF: BackoffLimits = { firstMs: 200, maxMs: 10_000 };
/** A server that wants more time than this is not waited for: the error says how long it asked for. */
const RETRY_AFTER_SECONDS_MAX = 30;

/** What may pass by itself. Not `internal`: the same request would fail in the same way. */
export function mayPass({ code }: ApiError): boolean {
  return (
    code === 'unreachable' || code === 'timeout' || code === 'unavailable' || code === 'too_many_requests'
  );
}

/**
 * How long to wait before the request is sent again, ms; null: not any more. `failures` counts tries so far, from 1;
 * `random` is in [0, 1). Of requests whose repetition does nothing: GET, and ticks, which are stored once.
 */
export function retryDelayMs(
  error: ApiError,
  failures: number,
  attemptsMax: number,
  random: number,
): number | null {
  if (failures >= attemptsMax || !mayPass(error)) return null;
  const backoff = backoffMs(failures - 1, REQUEST_BACKOFF, random);
  const { retryAfterSeconds } = error;
  if (retryAfterSeconds === null) return backoff;
  return retryAfterSeconds > RETRY_AFTER_SECONDS_MAX ? null : Math.max(backoff, retryAfterSeconds * 1000);
}
