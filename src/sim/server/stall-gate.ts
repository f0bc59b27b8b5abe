import type { StallFault } from '../fault.ts';
import type { TickSource } from '../source/source.ts';

interface Stall {
  kind: 'stall' | 'stall-all';
  index: number;
  ms: number;
  /** monotonic; null until a stream got there */
  untilMs: number | null;
}

/** Where streams fall silent, and until when. One for all streams of a simulator. */
export class StallGate {
  readonly #stalls: readonly Stall[];
  readonly #nowMs: () => number;

  constructor(faults: readonly StallFault[], source: TickSource, nowMs: () => number) {
    this.#stalls = faults.map(({ kind, at, ms }) => ({
      kind,
      index: source.indexFrom(at),
      ms,
      untilMs: null,
    }));
    this.#nowMs = nowMs;
  }

  /** How long a stream must be silent before this tick, and by which fault; null when it may go on. */
  enter(index: number): { kind: string; ms: number } | null {
    for (const stall of this.#stalls) {
      const now = this.#nowMs();
      const arrives = stall.kind === 'stall' ? index === stall.index : index >= stall.index;
      if (arrives && stall.untilMs === null) {
        stall.untilMs = now + stall.ms;
        return { kind: stall.kind, ms: stall.ms };
      }
      if (arrives && stall.kind === 'stall-all' && stall.untilMs !== null && now < stall.untilMs) {
        return { kind: stall.kind, ms: stall.untilMs - now };
      }
    }
    return null;
  }

  /** The first tick after this one that a stream must stop before; Infinity when there is none. */
  nextAfter(index: number): number {
    const ahead = this.#stalls.flatMap((stall) => (stall.index > index ? [stall.index] : []));
    return Math.min(...ahead, Infinity);
  }
}
