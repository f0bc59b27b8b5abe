import { backoffMs, type BackoffLimits } from '../core/retry.ts';
import { pause } from '../core/wait.ts';

export interface RetryPolicy {
  /** false: the error is permanent and is rethrown */
  mayPass: (error: unknown) => boolean;
  backoff: BackoffLimits;
  random: () => number;
  /** called for every failure that is retried */
  onRetry: (error: unknown, waitMs: number) => void;
  /** ends the retries: the last error is rethrown */
  signal: AbortSignal;
}

/** Repeats the work until it succeeds. Rejects with its error if that is permanent, or once `signal` aborts. */
export async function retrying<T>(work: () => Promise<T>, policy: RetryPolicy): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (policy.signal.aborted || !policy.mayPass(error)) throw error;
      const waitMs = backoffMs(attempt, policy.backoff, policy.random());
      policy.onRetry(error, waitMs);
      // an abort ends the wait, and the next attempt is the last one
      await pause(waitMs, policy.signal);
    }
  }
}
