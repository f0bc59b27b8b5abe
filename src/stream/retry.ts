import { backoffMs, type BackoffLimits } from '../core/retry.ts';
import { pause } from '../core/wait.ts';

export interface RetryPolicy {
  /** false: what failed will fail again, and its error is passed on */
  mayPass: (error: unknown) => boolean;
  backoff: BackoffLimits;
  random: () => number;
  /** of every failure that is tried again */
  onRetry: (error: unknown, waitMs: number) => void;
  /** ends the waiting: the last error is passed on */
  signal: AbortSignal;
}

/** The work again and again until it is done. Rejects with its error when that cannot pass, or when `signal` says so. */
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
