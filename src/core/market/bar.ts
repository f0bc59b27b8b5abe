import { ExactSum } from '../window/exact-sum.ts';

/** The bar of one window of one symbol. Times are µs since 1970, exact in a double until 2255. */
export interface Bar {
  /** of the first tick by (time, seq) */
  open: number;
  high: number;
  low: number;
  close: number;
  /** the exact sum of the sizes, rounded once */
  volume: number;
  /** the exact sum of price × size (each product rounded once), rounded, divided by volume; null: no volume, or unknown */
  vwap: number | null;
  /** distinct ticks; 0: built from bar events */
  tickCount: number;
  firstUs: number;
  lastUs: number;
  /** the exact sums: canonical parts (ExactSum.canonical) */
  volumeParts: readonly number[];
  /** null: unknown */
  pvParts: readonly number[] | null;
}

/** Identifies a bar: provider, symbol, length and start of its window. */
export interface BarKey {
  provider: string;
  symbol: string;
  intervalMs: number;
  startUs: number;
}

/** A bar's key as text, for maps. */
export function barId({ provider, symbol, intervalMs, startUs }: BarKey): string {
  return `${provider}|${symbol}|${intervalMs}|${startUs}`;
}

/** A row of bars_ohlcv or bars_replay. */
export interface BarRow extends BarKey {
  /** 0: live */
  runId: bigint;
  bar: Bar;
  /** false: its window is still open */
  isFinal: boolean;
  /** sequence number of the last tick; 0 where it is not kept */
  lastSeq: bigint;
}

/** Builds the bar of a window from its prices and sums. */
export function barOf(
  prices: Pick<Bar, 'open' | 'high' | 'low' | 'close' | 'tickCount' | 'firstUs' | 'lastUs'>,
  volume: ExactSum,
  pv: ExactSum | null,
): Bar {
  const sum = volume.value();
  const isKnown = pv !== null && pv.isFinite;
  const vwap = isKnown && sum > 0 && volume.isFinite ? finite(pv.value() / sum) : null;
  return {
    ...prices,
    volume: sum,
    vwap,
    volumeParts: volume.canonical(),
    pvParts: isKnown ? pv.canonical() : null,
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Merges consecutive bars of one symbol into the bar of a longer window, exactly. */
export class BarMerger {
  #prices: Pick<Bar, 'open' | 'high' | 'low' | 'close' | 'tickCount' | 'firstUs' | 'lastUs'> | null = null;
  readonly #volume = new ExactSum();
  #pv: ExactSum | null = new ExactSum();

  /** Bars must be added in window order. */
  add({ volumeParts, pvParts, ...bar }: Bar): void {
    const prices = this.#prices;
    if (prices === null) {
      const { open, high, low, close, tickCount, firstUs, lastUs } = bar;
      this.#prices = { open, high, low, close, tickCount, firstUs, lastUs };
    } else {
      prices.high = Math.max(prices.high, bar.high);
      prices.low = Math.min(prices.low, bar.low);
      prices.close = bar.close;
      prices.tickCount += bar.tickCount;
      prices.firstUs = Math.min(prices.firstUs, bar.firstUs);
      prices.lastUs = Math.max(prices.lastUs, bar.lastUs);
    }
    this.#volume.addAll(volumeParts);
    // one window with an unknown sum makes the total unknown
    if (pvParts === null) this.#pv = null;
    else this.#pv?.addAll(pvParts);
  }

  /** null: nothing was added. */
  bar(): Bar | null {
    return this.#prices === null ? null : barOf({ ...this.#prices }, this.#volume, this.#pv);
  }
}

/** null: there are none. */
export function mergeBars(bars: readonly Bar[]): Bar | null {
  const merger = new BarMerger();
  for (const bar of bars) merger.add(bar);
  return merger.bar();
}
