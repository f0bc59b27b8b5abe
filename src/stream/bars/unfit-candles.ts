import type { Env } from '../../core/env.ts';
import type { BarEvent } from '../../core/market/event.ts';
import { formatMicros } from '../../core/time.ts';

/** the same kind of candle is logged again after this, ms */
const REPEAT_MS = 60_000;
/** kinds that are told apart: providers and intervals are named by strangers */
const KINDS_MAX = 200;

export type UnfitReason = 'too_long' | 'straddles';

interface Kind {
  loggedMs: number;
  /** since it was last logged */
  count: number;
}

const WHAT_TO_DO: Readonly<Record<UnfitReason, string>> = {
  too_long:
    'it is longer than the window: send candles of at most that length, or make micro_batch.window_ms longer (up to 60000)',
  straddles: 'it crosses the end of a window: candles have to begin where a window can hold them whole',
};

/**
 * Bar events that no window can hold, said once a minute for each provider and interval. They are no dead letters: a feed of
 * minute candles beside windows of seconds would push everything else out of the share of the bus that dead letters have.
 */
export class UnfitCandles {
  readonly #env: Env;
  readonly #windowMs: number;
  readonly #kinds = new Map<string, Kind>();

  constructor(env: Env, windowMs: number) {
    this.#env = env;
    this.#windowMs = windowMs;
  }

  add({ provider, symbol, interval, srcTs }: BarEvent, reason: UnfitReason): void {
    const kind = this.#kindOf(`${reason}|${provider}|${interval}`);
    kind.count += 1;
    const nowMs = this.#env.clock.monotonicMs();
    if (nowMs - kind.loggedMs < REPEAT_MS) return;
    this.#env.log('warn', 'MicroBatcher: candles that fit into no window are in no bar', {
      reason,
      provider,
      interval,
      window_ms: this.#windowMs,
      count: kind.count,
      symbol,
      src_ts: formatMicros(srcTs),
      hint: WHAT_TO_DO[reason],
    });
    kind.loggedMs = nowMs;
    kind.count = 0;
  }

  #kindOf(name: string): Kind {
    let kind = this.#kinds.get(name);
    if (kind === undefined) {
      if (this.#kinds.size >= KINDS_MAX) this.#kinds.delete(this.#kinds.keys().next().value ?? '');
      kind = { loggedMs: -Infinity, count: 0 };
      this.#kinds.set(name, kind);
    }
    return kind;
  }
}
