/**
 * Bars from ticks, computed another way than the program does: doubles as whole numbers of 2^-1074, summed as BigInt and
 * rounded once at the end (what Python's math.fsum gives).
 */
export interface OracleTick {
  provider: string;
  symbol: string;
  /** µs since 1970 */
  srcUs: number;
  seq: number;
  price: number;
  size: number | null;
}

/** What a row of bars_ohlcv says of its window. */
export interface OracleBar {
  provider: string;
  symbol: string;
  ts: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  vwap: number | null;
  ticks: number;
  first: number;
  last: number;
}

const view = new DataView(new ArrayBuffer(8));
const MANTISSA_BITS = 52n;
const HIDDEN = 1n << MANTISSA_BITS;

/** A finite double in units of 2^-1074. */
export function exactly(value: number): bigint {
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> MANTISSA_BITS) & 0x7ffn;
  const fraction = bits & (HIDDEN - 1n);
  const whole = exponent === 0n ? fraction : (fraction | HIDDEN) << (exponent - 1n);
  return bits >> 63n === 1n ? -whole : whole;
}

/** The double nearest to it, half to even; Infinity beyond the range. */
export function rounded(units: bigint): number {
  if (units < 0n) return -rounded(-units);
  const bits = BigInt(units.toString(2).length);
  const shift = bits > MANTISSA_BITS + 1n ? bits - MANTISSA_BITS - 1n : 0n;
  let mantissa = units >> shift;
  const rest = units - (mantissa << shift);
  const half = shift === 0n ? 1n : 1n << (shift - 1n);
  if (shift > 0n && (rest > half || (rest === half && (mantissa & 1n) === 1n))) mantissa += 1n;
  // a carry into the next power of two moves into the exponent by itself
  const word = mantissa < HIDDEN ? mantissa : ((shift + 1n) << MANTISSA_BITS) + (mantissa - HIDDEN);
  if (word >= 0x7ffn << MANTISSA_BITS) return Infinity;
  view.setBigUint64(0, word);
  return view.getFloat64(0);
}

export function exactSum(values: readonly number[]): number {
  return rounded(values.reduce((sum, value) => sum + exactly(value), 0n));
}

/** The sum as few doubles, the largest first. */
export function partsOf(values: readonly number[]): number[] {
  let rest = values.reduce((sum, value) => sum + exactly(value), 0n);
  const parts: number[] = [];
  while (rest !== 0n) {
    const head = rounded(rest);
    parts.push(head);
    rest -= exactly(head);
  }
  return parts;
}

/** One bar of each window with ticks, by provider, symbol and time; a tick given twice counts once. */
export function oracleBars(ticks: readonly OracleTick[], intervalMs: number): OracleBar[] {
  const lengthUs = intervalMs * 1000;
  const windows = new Map<string, Map<string, OracleTick>>();
  for (const tick of ticks) {
    const { provider, symbol, srcUs, seq } = tick;
    const start = srcUs - (srcUs % lengthUs);
    const name = [provider, symbol, String(start).padStart(17, '0')].join('\0');
    if (!windows.has(name)) windows.set(name, new Map());
    windows.get(name)?.set(`${srcUs}|${seq}`, tick);
  }
  return [...windows.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, window]) => {
      const sorted = [...window.values()].sort((a, b) => a.srcUs - b.srcUs || a.seq - b.seq);
      const prices = sorted.map(({ price }) => price);
      const sizes = sorted.map(({ size }) => size ?? 0);
      const volume = exactSum(sizes);
      const worth = exactSum(sorted.map(({ price, size }) => price * (size ?? 0)));
      const [provider, symbol, start] = name.split('\0');
      return {
        provider,
        symbol,
        ts: Number(start),
        open: prices[0],
        high: Math.max(...prices),
        low: Math.min(...prices),
        close: prices[prices.length - 1],
        volume,
        vwap: volume > 0 ? worth / volume : null,
        ticks: sorted.length,
        first: sorted[0].srcUs,
        last: sorted[sorted.length - 1].srcUs,
      };
    });
}
