import { Bollinger } from './bollinger.ts';
import type { FeatureSet, FeatureSpec } from './catalogue.ts';
import { ReturnMoments } from './moments.ts';
import { Return } from './ret.ts';
import { Rsi } from './rsi.ts';
import { Closes } from './series/closes.ts';
import { LogReturns } from './series/returns.ts';
import { StateIn, StateOut } from './series/state.ts';
import { RING_TICKS_MAX, TickRing } from './series/tick-ring.ts';
import { Spread } from './spread.ts';
import type { FeatureTick } from './tick.ts';
import { TickRate } from './tick-rate.ts';
import { TradeWindow } from './trade-window.ts';
import { VolumeProfile } from './volume-profile.ts';
import { VwapDeviation } from './vwap-deviation.ts';

const YEAR_MS = 31_536_000_000;

/**
 * All features of one symbol. Ticks come in the order of (tsUs, seq); times at which values are asked for are never before the last
 * tick, nor before the last time. The values are a pure function of the ticks: equal after save() and load().
 */
export class SymbolFeatures {
  readonly #ring: TickRing;
  readonly #trades = new Map<number, TradeWindow>();
  readonly #prices = new Map<number, Return>();
  readonly #moments = new Map<number, ReturnMoments>();
  readonly #returns: LogReturns;
  readonly #rsi = new Rsi();
  readonly #bollinger = new Bollinger();
  /** of trades and prices, all that look into the ring */
  readonly #windows: readonly (TradeWindow | Return)[];
  readonly #closes: Closes;
  readonly #rate = new TickRate();
  readonly #spread = new Spread();
  readonly #deviation = new VwapDeviation();
  readonly #profile: VolumeProfile;
  readonly #getters: readonly ((atUs: number) => number)[];
  readonly #values: Float64Array;
  #price = NaN;
  #lastUs = -Infinity;
  /** ticks that left windows early, because the symbol has more of them than are kept */
  cut = 0;

  /** @param ticksMax how many ticks are kept for the windows, at most */
  constructor(set: FeatureSet, ticksMax = RING_TICKS_MAX) {
    this.#ring = new TickRing(ticksMax);
    const cells = set.specs.map((spec) => cellsOf(spec, set.gridMs));
    this.#returns = new LogReturns(Math.max(1, ...cells));
    this.#closes = new Closes(set.gridMs, [this.#returns, this.#rsi, this.#bollinger]);
    this.#profile = new VolumeProfile(set.priceBin);
    this.#getters = set.specs.map((spec) => this.#getter(spec, set.gridMs));
    this.#windows = [...this.#trades.values(), ...this.#prices.values()];
    this.#values = new Float64Array(set.specs.length);
  }

  /** The last price; NaN before the first tick. */
  get price(): number {
    return this.#price;
  }

  /** The time of the last tick, µs; -Infinity before the first. */
  get lastUs(): number {
    return this.#lastUs;
  }

  /** Whether the spread is of a tick of this time. */
  isQuotedAt(tsUs: number): boolean {
    return this.#spread.tsUs === tsUs;
  }

  /** Whether this tick took part; null: it is not known here, and older than what is remembered. */
  has(tsUs: number, seq: bigint): boolean | null {
    return this.#ring.has(tsUs, seq);
  }

  add(tick: FeatureTick): void {
    this.#advance(tick.tsUs);
    if (this.#ring.isFull) this.#drop();
    this.#ring.push(tick);
    this.#closes.add(tick.tsUs, tick.price);
    this.#rate.add(tick.tsUs);
    this.#spread.add(tick);
    this.#deviation.add(tick);
    this.#profile.add(tick);
    this.#price = tick.price;
    this.#lastUs = tick.tsUs;
  }

  /** Values as of this time, in the order of the set's names; NaN: null. The array is overwritten by the next call. */
  values(atUs: number): Float64Array {
    this.#advance(atUs);
    for (let at = 0; at < this.#getters.length; at += 1) {
      const value = this.#getters[at](atUs);
      this.#values[at] = Number.isFinite(value) ? value : NaN;
    }
    return this.#values;
  }

  save(): Uint8Array {
    const out = new StateOut();
    out.f64(this.#price);
    out.f64(this.#lastUs);
    this.#ring.save(out);
    for (const part of this.#saved) part.save(out);
    return out.bytes();
  }

  /**
   * Into a new one of the same set.
   * @throws RangeError where the bytes are no state
   */
  load(bytes: Uint8Array): void {
    const state = new StateIn(bytes);
    this.#price = state.f64();
    this.#lastUs = state.f64();
    this.#ring.load(state);
    for (const part of this.#saved) part.load(state);
    if (!state.isAtEnd) throw new RangeError('there are more bytes than the state has');
    for (const window of this.#windows) window.restart();
  }

  get #saved(): readonly { save(out: StateOut): void; load(state: StateIn): void }[] {
    return [
      this.#closes,
      this.#returns,
      this.#rsi,
      this.#bollinger,
      this.#rate,
      this.#spread,
      this.#deviation,
      this.#profile,
    ];
  }

  #advance(atUs: number): void {
    this.#closes.advance(atUs);
    this.#rate.advance(atUs);
    let needed = this.#ring.end;
    for (const window of this.#windows) {
      window.advance(atUs);
      if (window.from < needed) needed = window.from;
    }
    this.#ring.trim(needed);
  }

  #drop(): void {
    const { first } = this.#ring;
    for (const window of this.#windows) if (window.from === first) window.drop();
    this.#ring.trim(first + 1);
    this.cut += 1;
  }

  #getter({ kind, horizonMs }: FeatureSpec, gridMs: number): (atUs: number) => number {
    const horizon = horizonMs ?? 0;
    const trades = (): TradeWindow => made(this.#trades, horizon, () => new TradeWindow(horizon, this.#ring));
    const moments = (): ReturnMoments => {
      const cells = horizon / gridMs;
      return made(this.#moments, cells, () => new ReturnMoments(cells, this.#returns));
    };
    switch (kind) {
      case 'vwap': {
        const window = trades();
        return () => window.vwap();
      }
      case 'order_imbalance': {
        const window = trades();
        return () => window.imbalance();
      }
      case 'ret': {
        const window = made(this.#prices, horizon, () => new Return(horizon, this.#ring));
        return (atUs) => window.value(atUs);
      }
      case 'vol': {
        const window = moments();
        return () => window.deviation();
      }
      case 'volatility': {
        const window = moments();
        const scale = Math.sqrt(YEAR_MS / gridMs);
        return () => window.deviation() * scale;
      }
      case 'skewness': {
        const window = moments();
        return () => window.skewness();
      }
      case 'kurtosis': {
        const window = moments();
        return () => window.kurtosis();
      }
      case 'rsi':
        return () => this.#rsi.value();
      case 'bollinger':
        return () => this.#bollinger.value();
      case 'tick_rate_z':
        return () => this.#rate.value();
      case 'spread_bps':
        return () => this.#spread.value();
      case 'vwap_deviation_bps':
        return () => this.#deviation.value();
      case 'vp_distance_bps':
        return () => this.#profile.value();
    }
  }
}

function cellsOf({ kind, horizonMs }: FeatureSpec, gridMs: number): number {
  const isOverCloses = kind === 'vol' || kind === 'volatility' || kind === 'skewness' || kind === 'kurtosis';
  return isOverCloses ? (horizonMs ?? 0) / gridMs : 0;
}

/** Windows of the same length are one. */
function made<T>(windows: Map<number, T>, length: number, make: () => T): T {
  const found = windows.get(length) ?? make();
  windows.set(length, found);
  return found;
}
