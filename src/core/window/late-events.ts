import type { MarketEvent, TickEvent } from '../market/event.ts';
import { windowEndUs, windowStartUs } from './rollup.ts';
import type { BarRules, EventOutcome } from './rules.ts';
import { bothContested, type Extension, type LateWindow } from './step.ts';

/** What a step says about windows that are closed. */
export interface LateWork {
  late: LateWindow[];
  extensions: Extension[];
  dropped: number;
}

/** Events that found their window closed, and closed windows to be recomputed, until the next step takes them. */
export class LateEvents {
  readonly #rules: BarRules;
  #late = new Map<string, LateWindow>();
  #extensions = new Map<string, Extension>();
  #dropped = 0;

  constructor(rules: BarRules) {
    this.#rules = rules;
  }

  get hasMarks(): boolean {
    return this.#late.size > 0;
  }

  get isEmpty(): boolean {
    return !this.hasMarks && this.#extensions.size === 0 && this.#dropped === 0;
  }

  /** @param watermarkUs of the event's symbol */
  judge(event: MarketEvent, watermarkUs: number, position: string): EventOutcome {
    const startUs = windowStartUs(Number(event.srcTs), this.#rules.windowMs);
    if (event.kind === 'bar') return 'late';
    if (event.replayRunId !== null) return this.#extend(event, event.replayRunId, startUs);
    if (this.#rules.late === 'dlq') return 'late';
    if (this.#rules.late === 'drop') {
      this.#dropped += 1;
      return 'dropped';
    }
    const endUs = windowEndUs(startUs, this.#rules.windowMs);
    if (endUs + this.#rules.reviseHorizonMs * 1000 <= watermarkUs) return 'too_late';
    this.mark(event.provider, event.symbol, startUs, position);
    return 'marked';
  }

  /** @param position what the tick consumer must have passed: a window's own events, and what it is recomputed for */
  mark(
    provider: string,
    symbol: string,
    startUs: number,
    position: string | null,
    contested?: 'alone',
  ): void {
    const endUs = windowEndUs(startUs, this.#rules.windowMs);
    const key = `${provider}|${symbol}|${startUs}`;
    const known = this.#late.get(key);
    const both = known === undefined ? contested : bothContested(known.contested, contested);
    const window = { provider, symbol, startUs, endUs, position };
    this.#late.set(key, both === undefined ? window : { ...window, contested: both });
  }

  take(): LateWork {
    const work = {
      late: [...this.#late.values()],
      extensions: [...this.#extensions.values()],
      dropped: this.#dropped,
    };
    this.#late = new Map();
    this.#extensions = new Map();
    this.#dropped = 0;
    return work;
  }

  #extend(tick: TickEvent, runId: bigint, startUs: number): 'extended' {
    const { provider, symbol, seq, price, size } = tick;
    const key = `${runId}|${provider}|${symbol}|${startUs}`;
    let extension = this.#extensions.get(key);
    if (extension === undefined) {
      extension = { runId, provider, symbol, startUs, ticks: [] };
      this.#extensions.set(key, extension);
    }
    extension.ticks.push({ srcUs: Number(tick.srcTs), seq, price, size });
    return 'extended';
  }
}
