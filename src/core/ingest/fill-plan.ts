import { backoffMs, type BackoffLimits } from '../retry.ts';
import type { TickRange } from './ranges.ts';

/**
 * How a missing range is asked for next.
 *
 *   any       by single calls when it is short, by a stream when it is long
 *   left_out  a stream has passed over it: single calls, of a long one a sample
 *   each      every number by a call of its own, however many there are
 */
export type FillMode = 'any' | 'left_out' | 'each';

export interface FillState {
  mode: FillMode;
  /** answers in a row that said the sequencer does not have it */
  misses: number;
  /** attempts in a row without an answer */
  failures: number;
}

export interface FillEntry extends TickRange, FillState {
  /** not to be asked for before, monotonic ms */
  notBeforeMs: number;
}

export interface FillPlanLimits {
  /** this many misses in a row prove that a number cannot be filled */
  missesMax: number;
  missWaits: BackoffLimits;
  failureWaits: BackoffLimits;
}

const FRESH: FillState = { mode: 'any', misses: 0, failures: 0 };

/**
 * What is missing and when it is asked for next, kept as ranges and never as single numbers. Neighbours in the same
 * state are one range, so the plan grows with the number of gaps and not with their lengths.
 */
export class FillPlan {
  readonly #limits: FillPlanLimits;
  readonly #random: () => number;
  /** sorted, disjoint */
  readonly #entries: FillEntry[] = [];

  /** random: in [0, 1), for the jitter of the waits. */
  constructor(limits: FillPlanLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  get entries(): readonly FillEntry[] {
    return this.#entries;
  }

  /** When the next range is due, monotonic ms; null when nothing is missing. */
  get nextMs(): number | null {
    let next: number | null = null;
    for (const { notBeforeMs } of this.#entries) if (next === null || notBeforeMs < next) next = notBeforeMs;
    return next;
  }

  /** Removes the ranges that are due and chosen, lowest first; the caller puts back what stays missing. */
  take(nowMs: number, choose: (entry: FillEntry) => 'take' | 'leave' | 'stop'): FillEntry[] {
    const taken: FillEntry[] = [];
    let at = 0;
    for (; at < this.#entries.length; at += 1) {
      const entry = this.#entries[at];
      const choice = entry.notBeforeMs > nowMs ? 'leave' : choose(entry);
      if (choice === 'stop') break;
      if (choice === 'take') taken.push(entry);
      else this.#entries[at - taken.length] = entry;
    }
    this.#entries.splice(at - taken.length, taken.length);
    return taken;
  }

  /** A new gap. */
  add(gap: TickRange): void {
    this.put(gap, FRESH, 0);
  }

  /** Still missing, in this state. */
  put({ first, last }: TickRange, { mode, misses, failures }: FillState, notBeforeMs: number): void {
    const entry: FillEntry = { first, last, mode, misses, failures, notBeforeMs };
    const at = this.#firstAbove(first);
    const before = this.#entries[at - 1];
    const after = this.#entries[at];
    let from = at;
    let count = 0;
    if (before !== undefined && joins(before, entry)) {
      from -= 1;
      count += 1;
      entry.first = before.first;
      entry.notBeforeMs = Math.max(before.notBeforeMs, entry.notBeforeMs);
    }
    if (after !== undefined && joins(entry, after)) {
      count += 1;
      entry.last = after.last;
      entry.notBeforeMs = Math.max(after.notBeforeMs, entry.notBeforeMs);
    }
    this.#entries.splice(from, count, entry);
  }

  #firstAbove(number: bigint): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle].first > number) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The sequencer says that it does not have it. Returns how long until it is asked for again, ms; null: given up. */
  missed(range: TickRange, state: FillState, nowMs: number): number | null {
    const misses = state.misses + 1;
    if (misses >= this.#limits.missesMax) return null;
    const waitMs = backoffMs(misses - 1, this.#limits.missWaits, this.#random());
    this.put(range, { mode: state.mode === 'each' ? 'each' : 'any', misses, failures: 0 }, nowMs + waitMs);
    return waitMs;
  }

  /** No answer, or an unusable one: proves nothing. Returns how long until it is asked for again, ms. */
  failed(range: TickRange, state: FillState, nowMs: number): number {
    const waitMs = backoffMs(state.failures, this.#limits.failureWaits, this.#random());
    this.put(range, { ...state, failures: state.failures + 1 }, nowMs + waitMs);
    return waitMs;
  }
}

function joins(low: FillEntry, high: FillEntry): boolean {
  return (
    low.last + 1n === high.first &&
    low.mode === high.mode &&
    low.misses === high.misses &&
    low.failures === high.failures
  );
}
