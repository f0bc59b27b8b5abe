import type { FeatureSet } from '../feature/catalogue.ts';
import { StateIn, StateOut } from '../feature/series/state.ts';
import { SymbolFeatures } from '../feature/symbol-features.ts';
import type { FeatureTick } from '../feature/tick.ts';
import { PendingTicks } from './pending.ts';
import { HourDigests } from './row-digest.ts';
import { TakenKeys } from './taken-keys.ts';

/** When a symbol's features are looked at: at each tick, or at the ends of windows of this length, ms. */
export type RowTimes = 'ticks' | number;

export interface RowRules {
  set: FeatureSet;
  times: RowTimes;
  /** how far a tick may lag behind the newest one of its symbol and still be used, ms */
  allowLateMs: number;
  /** a symbol without an event for so long has what waits applied, ms by the bus's clock */
  idleTimeoutMs: number;
}

/**
 * - applied: it waits for the watermark
 * - known: its id waits, or took part, already
 * - late: the watermark had passed it, and it had not taken part
 * - unsure: the watermark had passed it, and it is older than what is here: whether it took part is to be looked up
 */
export type TickOutcome = 'applied' | 'known' | 'late' | 'unsure';

/** What the features of a symbol began with: stored ticks before a time. */
export interface Primed {
  /** those before took part; from then on events may still come, in any order, µs */
  beforeUs: number;
  /** which ticks were stored when it was made, as the database says that: text of a pg_snapshot */
  seen: string;
}

/** Called with each look at the features; `values` is overwritten by the next one. */
export type RowSink = (tsUs: number, features: SymbolFeatures, values: Float64Array) => void;

/** Beyond so many ticks that wait, the earliest are applied before the watermark passes them: a clock that stands still. */
const PENDING_MAX = 65_536;

/**
 * The features of one symbol over its ticks as they come:
 *
 *   tick ─► waits, in order, until the watermark (newest time − allowLate) has passed it ─► features
 *             ─► a look after all ticks of a microsecond, or at the end of a window that had ticks, before anything behind it
 *
 * Which looks there are, and what they show, depends only on the order in which the ticks came.
 */
export class SymbolRows {
  readonly #rules: RowRules;
  readonly #pending = new PendingTicks();
  /** of ticks that took part after those that the features began with */
  readonly keys: TakenKeys;
  /** of these, those that are stored and have not come as events */
  readonly #primed = new Set<FeatureTick>();
  /** an event was applied: what follows is looked at, also where it was stored and has not come */
  #isBegun = false;
  readonly #isLive: boolean;
  readonly features: SymbolFeatures;
  /** of the looks at ends of windows */
  readonly digests = new HourDigests();
  /** of rules in mode edge: which were true at the last look */
  facts: readonly string[] = [];
  /** the first tick that the features know, µs; NaN: none */
  anchorUs = NaN;
  #maxUs = -Infinity;
  /** everything before is applied */
  #doneUs = -Infinity;
  /** end of the window with the last tick applied, while no look was taken at it, µs */
  #windowEndUs: number | null = null;
  /** windows up to here were looked at, µs */
  #lookedUs = -Infinity;
  /** when its last event came, by the bus's clock, ms */
  heardMs = -Infinity;
  /** null: with no stored ticks */
  primed: Primed | null = null;

  /** @param isLive what comes too late is judged, whenever it comes */
  constructor(rules: RowRules, isLive: boolean) {
    this.#rules = rules;
    this.#isLive = isLive;
    this.keys = new TakenKeys(isLive);
    this.features = new SymbolFeatures(rules.set);
  }

  /** Something waits: for the watermark, or for the end of a window. */
  get isWaiting(): boolean {
    return this.#pending.size > 0 || this.#windowEndUs !== null;
  }

  /**
   * Ticks that are stored, in order, before the first event is taken. No look is taken at those before it. Those behind it are
   * looked at as if they had come, as a replay or an export does; a replay looks at its own ticks alone.
   */
  prime(tick: FeatureTick, { beforeUs }: Primed): void {
    if (tick.tsUs >= beforeUs) {
      if (this.#pending.add(tick) === null) this.#primed.add(tick);
      while (this.#pending.size > PENDING_MAX) this.#apply(this.#pending.takeFirst(), noLook);
      return;
    }
    if (Number.isNaN(this.anchorUs)) this.anchorUs = tick.tsUs;
    this.features.add(tick);
    this.#doneUs = tick.tsUs + 1;
  }

  take(tick: FeatureTick, sink: RowSink): TickOutcome {
    const { tsUs, seq } = tick;
    const watermarkUs = this.#watermarkUs;
    if (tsUs < watermarkUs || tsUs < this.#doneUs) return this.#passed(tsUs, seq);
    const same = this.#pending.add(tick);
    if (same !== null && !this.#primed.delete(same)) return 'known';
    if (tsUs > this.#maxUs) this.#maxUs = tsUs;
    this.#applyBefore(this.#watermarkUs, sink);
    while (this.#pending.size > PENDING_MAX) this.#apply(this.#pending.takeFirst(), sink);
    return 'applied';
  }

  /** No further event is expected for now: everything that waits is applied; the watermark stays. */
  settle(sink: RowSink): void {
    this.#applyBefore(Infinity, sink);
    this.#look(sink);
  }

  save(): Uint8Array {
    const out = new StateOut();
    this.digests.save(out);
    this.keys.save(out);
    for (const value of [
      this.#maxUs,
      this.#doneUs,
      this.#windowEndUs ?? NaN,
      this.#lookedUs,
      this.anchorUs,
      this.heardMs,
      this.#isBegun ? 1 : 0,
    ])
      out.f64(value);
    out.f64(this.#pending.size);
    for (const tick of this.#pending.all) {
      const { tsUs, seq, price, size, bid, ask, side } = tick;
      out.f64(this.#primed.has(tick) ? 1 : 0);
      out.f64(tsUs);
      out.i64(seq);
      for (const value of [price, size, bid, ask, side]) out.f64(value ?? NaN);
    }
    const features = this.features.save();
    const head = out.bytes();
    const bytes = new Uint8Array(8 + head.length + features.length);
    new DataView(bytes.buffer).setFloat64(0, head.length, true);
    bytes.set(head, 8);
    bytes.set(features, 8 + head.length);
    return bytes;
  }

  /**
   * Into a new one with the same rules.
   * @throws RangeError where the bytes are no state
   */
  load(bytes: Uint8Array): void {
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(0, true);
    const state = new StateIn(bytes.subarray(8, 8 + length));
    this.digests.load(state);
    this.keys.load(state);
    this.#maxUs = state.f64();
    this.#doneUs = state.f64();
    this.#windowEndUs = orNull(state.f64());
    this.#lookedUs = state.f64();
    this.anchorUs = state.f64();
    this.heardMs = state.f64();
    this.#isBegun = state.f64() === 1;
    for (let count = state.f64(); count > 0; count -= 1) {
      const isPrimed = state.f64() === 1;
      const tsUs = state.f64();
      const seq = state.i64();
      const price = state.f64();
      const [size, bid, ask, side] = [state.f64(), state.f64(), state.f64(), state.f64()].map(orNull);
      const tick = { tsUs, seq, price, size, bid, ask, side: side as 1 | -1 | null };
      this.#pending.add(tick);
      if (isPrimed) this.#primed.add(tick);
    }
    this.features.load(bytes.subarray(8 + length));
  }

  #passed(tsUs: number, seq: bigint): TickOutcome {
    const tookPart = this.features.has(tsUs, seq);
    if (tookPart === false) return 'late';
    return tookPart === true || this.keys.has(tsUs, seq) ? 'known' : 'unsure';
  }

  get #watermarkUs(): number {
    return this.#maxUs - this.#rules.allowLateMs * 1000;
  }

  #applyBefore(tsUs: number, sink: RowSink): void {
    this.#apply(this.#pending.takeBefore(tsUs), sink);
    if (this.#windowEndUs !== null && this.#windowEndUs <= tsUs && tsUs < Infinity) this.#look(sink);
  }

  #apply(ticks: readonly FeatureTick[], sink: RowSink): void {
    const { times } = this.#rules;
    // of those of a microsecond: one of them came as an event
    let isEvent = false;
    for (let at = 0; at < ticks.length; at += 1) {
      const tick = ticks[at];
      const { tsUs } = tick;
      if (this.#windowEndUs !== null && tsUs >= this.#windowEndUs) this.#look(sink);
      if (Number.isNaN(this.anchorUs)) this.anchorUs = tsUs;
      this.features.add(tick);
      this.keys.add(tsUs, tick.seq);
      this.#doneUs = tsUs + 1;
      if (!this.#primed.delete(tick) || (this.#isLive && this.#isBegun)) isEvent = this.#isBegun = true;
      if (times !== 'ticks') {
        if (!isEvent) continue;
        isEvent = false;
        const lengthUs = times * 1000;
        const endUs = (Math.floor(tsUs / lengthUs) + 1) * lengthUs;
        // a window that was looked at because its symbol fell silent is not looked at twice
        if (endUs > this.#lookedUs) this.#windowEndUs = endUs;
      } else if (at + 1 === ticks.length || ticks[at + 1].tsUs > tsUs) {
        if (isEvent) sink(tsUs, this.features, this.features.values(tsUs));
        isEvent = false;
      }
    }
  }

  #look(sink: RowSink): void {
    const endUs = this.#windowEndUs;
    if (endUs === null) return;
    this.#windowEndUs = null;
    this.#lookedUs = endUs;
    // of a symbol that fell silent: what comes behind the look cannot be in it
    if (endUs > this.#doneUs) this.#doneUs = endUs;
    sink(endUs, this.features, this.features.values(endUs));
  }
}

/** Before the first event. */
function noLook(): void {
  throw new Error('nothing was to be looked at');
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
