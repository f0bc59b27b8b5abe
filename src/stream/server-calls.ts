import { BusError } from '../bus/bus.ts';
import type { Backpressure } from '../core/bus/capacity.ts';
import type { Env } from '../core/env.ts';
import type { BackoffLimits } from '../core/retry.ts';
import { BUS_TROUBLE, databaseTrouble } from './trouble.ts';
import type { Meter } from './meter.ts';
import { retrying } from './retry.ts';

export interface ServerCallsOptions {
  env: Env;
  meter: Meter;
  /** prefix of log lines, such as TickConsumer */
  name: string;
  /** label of retries_total, followed by _bus or _database */
  component: string;
  /** is told when the bus refuses a record for want of memory or disk, and when it takes it after all */
  backpressure?: Pick<Backpressure, 'reportFull' | 'reportTaken'> | undefined;
}

const BACKOFF: BackoffLimits = { firstMs: 100, maxMs: 5_000 };

/**
 * A stage's calls to bus and database, each retried until it is answered; every failure is counted and logged. A call
 * rejects when its signal aborts, or with a permanent error.
 */
export class ServerCalls {
  readonly #options: ServerCallsOptions;

  constructor(options: ServerCallsOptions) {
    this.#options = options;
  }

  /** Of the stage, for its parts. */
  get env(): Env {
    return this.#options.env;
  }

  get meter(): Meter {
    return this.#options.meter;
  }

  /** Waits while the bus is unreachable or full. */
  async bus<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { backpressure } = this.#options;
    let wasRefused = false;
    const attempt = async (): Promise<T> => {
      try {
        return await call();
      } catch (error) {
        if (error instanceof BusError && error.kind === 'full') {
          wasRefused = true;
          backpressure?.reportFull();
        }
        throw error;
      }
    };
    const answer = await this.#untilAnswered('bus', attempt, signal, isAwayOrFull);
    if (wasRefused) backpressure?.reportTaken();
    return answer;
  }

  /** @param mayPass false for permanent errors (default: there are none) */
  database<T>(
    call: () => Promise<T>,
    signal: AbortSignal,
    mayPass: (error: unknown) => boolean = () => true,
  ): Promise<T> {
    return this.#untilAnswered('database', call, signal, mayPass);
  }

  #untilAnswered<T>(
    server: 'bus' | 'database',
    call: () => Promise<T>,
    signal: AbortSignal,
    mayPass: (error: unknown) => boolean,
  ): Promise<T> {
    const { env, meter, name, component } = this.#options;
    return retrying(call, {
      mayPass,
      backoff: BACKOFF,
      random: env.random,
      signal,
      onRetry: (err, waitMs) => {
        meter.count('retries_total', { component: `${component}_${server}` });
        const { level, message } = server === 'database' ? databaseTrouble(err) : BUS_TROUBLE;
        env.log(level, `${name}: ${message}`, { err, retry_ms: waitMs });
      },
    });
  }
}

function isAwayOrFull(error: unknown): boolean {
  return error instanceof BusError && (error.kind === 'unreachable' || error.kind === 'full');
}
