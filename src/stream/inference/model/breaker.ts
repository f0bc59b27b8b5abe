import CircuitBreaker from 'opossum';

export type BreakerState = 'closed' | 'half_open' | 'open';

export interface BreakerOptions {
  /** how long it stays open until one call tries again, ms */
  resetMs: number;
  /** the time over which calls and failures are counted, ms; a few calls should be within it */
  rollingMs: number;
  changed: (state: BreakerState) => void;
}

/** of the calls within rollingMs, at least CALLS_MIN, before it opens */
const FAILED_PERCENT = 50;
const CALLS_MIN = 3;
const BUCKETS = 10;

/** It is open: the call was not made. */
export class BreakerOpen extends Error {
  override name = 'BreakerOpen';
}

/**
 * Calls that fail are not made for a while.
 *
 *   closed ── half of the last calls failed ─► open ── resetMs ─► half_open ── the next call succeeds ─► closed
 *                                               ▲                    └─────── or fails ──► open
 *                                               └─────────────────────────────────────────┘
 */
export class Breaker<In, Out> {
  readonly #breaker: CircuitBreaker<[In], Out>;

  constructor(call: (input: In) => Promise<Out>, { resetMs, rollingMs, changed }: BreakerOptions) {
    this.#breaker = new CircuitBreaker<[In], Out>(call, {
      // the pool has its own, which ends what hangs
      timeout: false,
      resetTimeout: resetMs,
      rollingCountTimeout: rollingMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      errorThresholdPercentage: FAILED_PERCENT,
      volumeThreshold: CALLS_MIN,
    });
    this.#breaker.on('open', () => changed('open'));
    this.#breaker.on('halfOpen', () => changed('half_open'));
    this.#breaker.on('close', () => changed('closed'));
  }

  get state(): BreakerState {
    if (this.#breaker.opened) return 'open';
    return this.#breaker.halfOpen ? 'half_open' : 'closed';
  }

  /** Rejects with BreakerOpen, or as the call does. */
  async fire(input: In): Promise<Out> {
    try {
      return await this.#breaker.fire(input);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EOPENBREAKER') throw error;
      throw new BreakerOpen('the model failed too often and is left alone for a while', { cause: error });
    }
  }

  /** Ends its timers. */
  stop(): void {
    this.#breaker.shutdown();
  }
}
