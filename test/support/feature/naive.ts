/** The features by their definitions: of all ticks, anew for each time, without any state. */
import type { FeatureSet, FeatureSpec } from '../../../src/core/feature/catalogue.ts';
import type { FeatureTick } from '../../../src/core/feature/tick.ts';
import { exactSum, nearest } from '../../unit/core/window/exact-oracle.ts';

const SECOND_US = 1_000_000;
const DAY_US = 86_400 * SECOND_US;
const NOTHING = 2 ** -1000;

/** @param ticks in order; those after `atUs` are not known yet */
export function naiveValues(set: FeatureSet, ticks: readonly FeatureTick[], atUs: number): number[] {
  const known = ticks.filter(({ tsUs }) => tsUs <= atUs);
  if (known.length === 0) return set.specs.map(() => NaN);
  const runs = closesOf(known, set.gridMs * 1000, atUs);
  return set.specs.map((spec) => {
    const value = naive(spec, set, known, runs, atUs);
    return Number.isFinite(value) ? value : NaN;
  });
}

function naive(
  { kind, horizonMs }: FeatureSpec,
  { gridMs, priceBin }: FeatureSet,
  known: readonly FeatureTick[],
  runs: readonly Run[],
  atUs: number,
): number {
  const horizonUs = (horizonMs ?? 0) * 1000;
  const window = known.filter(({ tsUs }) => tsUs > atUs - horizonUs);
  const newest = known[known.length - 1];
  const today = known.filter(({ tsUs }) => Math.floor(tsUs / DAY_US) === Math.floor(newest.tsUs / DAY_US));
  const returns = (): number[] => logReturns(runs, (horizonMs ?? 0) / gridMs);
  switch (kind) {
    case 'vwap':
      return vwapOf(window);
    case 'ret': {
      const before = known.findLast(({ tsUs }) => tsUs <= atUs - horizonUs);
      return before === undefined ? NaN : newest.price / before.price - 1;
    }
    case 'vol':
      return deviationOf(returns());
    case 'volatility':
      return deviationOf(returns()) * Math.sqrt((365 * 86_400_000) / gridMs);
    case 'skewness':
      return skewnessOf(returns());
    case 'kurtosis':
      return kurtosisOf(returns());
    case 'order_imbalance': {
      const bought = sum(window.filter(({ side }) => side === 1).map(({ size }) => size ?? 0));
      const sold = sum(window.filter(({ side }) => side === -1).map(({ size }) => size ?? 0));
      return (bought - sold) / (bought + sold);
    }
    case 'rsi':
      return rsiOf(runs);
    case 'bollinger':
      return bollingerOf(newestCloses(runs, 20));
    case 'tick_rate_z':
      return tickRateOf(known, atUs);
    case 'spread_bps': {
      const quoted = known.findLast(({ bid, ask }) => bid !== null && ask !== null);
      const [bid, ask] = [quoted?.bid ?? NaN, quoted?.ask ?? NaN];
      return ((ask - bid) / ((bid + ask) / 2)) * 10_000;
    }
    case 'vwap_deviation_bps': {
      const vwap = vwapOf(today);
      return ((newest.price - vwap) / vwap) * 10_000;
    }
    case 'vp_distance_bps': {
      const poc = pocOf(today, priceBin ?? niceWidth(Math.abs(today[0].price) / 10_000));
      return ((newest.price - poc) / poc) * 10_000;
    }
  }
}

function sum(values: readonly number[]): number {
  return nearest(exactSum(values));
}

function vwapOf(ticks: readonly FeatureTick[]): number {
  return sum(ticks.map(({ price, size }) => price * (size ?? 0))) / sum(ticks.map(({ size }) => size ?? 0));
}

/** So many cells one after the other closed at a price. */
export interface Run {
  price: number;
  cells: number;
}

export function closesOf(known: readonly FeatureTick[], gridUs: number, atUs: number): Run[] {
  return known
    .map(({ tsUs, price }, at) => {
      const until = known[at + 1]?.tsUs ?? atUs;
      return { price, cells: Math.floor(until / gridUs) - Math.floor(tsUs / gridUs) };
    })
    .filter(({ cells }) => cells > 0);
}

/** The last `count` closes, the oldest first; fewer when there are no more. */
export function newestCloses(runs: readonly Run[], count: number): number[] {
  const closes: number[] = [];
  for (const { price, cells } of runs.toReversed())
    for (let cell = 0; cell < cells && closes.length < count; cell += 1) closes.push(price);
  return closes.toReversed();
}

/** [] while there are fewer. */
function logReturns(runs: readonly Run[], count: number): number[] {
  const closes = newestCloses(runs, count + 1);
  if (closes.length <= count) return [];
  return closes.slice(1).map((close, at) => {
    return logReturnOf(close, closes[at]);
  });
}

export function logReturnOf(close: number, before: number): number {
  if (close <= 0 || before <= 0) return NaN;
  const share = (close - before) / before;
  return Math.abs(share) < 0.25 ? Math.log1p(share) : Math.log(close) - Math.log(before);
}

function meanOf(values: readonly number[], power: number, from: number): number {
  return values.reduce((sum, value) => sum + (value - from) ** power, 0) / values.length;
}

export function deviationOf(values: readonly number[]): number {
  if (values.length < 2 || values.some(Number.isNaN)) return NaN;
  if (new Set(values).size === 1) return 0;
  return Math.sqrt((meanOf(values, 2, meanOf(values, 1, 0)) * values.length) / (values.length - 1));
}

/** Joanes and Gill's G1. */
export function skewnessOf(values: readonly number[]): number {
  if (values.some(Number.isNaN) || new Set(values).size < 2) return NaN;
  const n = values.length;
  const mean = meanOf(values, 1, 0);
  const s2 = meanOf(values, 2, mean) * n;
  const k2 = s2 / (n - 1);
  const k3 = (n * n * meanOf(values, 3, mean)) / ((n - 1) * (n - 2));
  return k3 / k2 ** 1.5;
}

/** Joanes and Gill's G2. */
export function kurtosisOf(values: readonly number[]): number {
  if (values.some(Number.isNaN) || new Set(values).size < 2) return NaN;
  const n = values.length;
  const mean = meanOf(values, 1, 0);
  const s2 = meanOf(values, 2, mean) * n;
  const s4 = meanOf(values, 4, mean) * n;
  return (
    (n * (n + 1) * (n - 1) * s4) / ((n - 2) * (n - 3) * s2 * s2) - (3 * (n - 1) ** 2) / ((n - 2) * (n - 3))
  );
}

export function rsiOf(runs: readonly Run[]): number {
  const changes: { change: number; times: number }[] = [];
  for (const [at, { price, cells }] of runs.entries()) {
    if (at > 0) changes.push({ change: price - runs[at - 1].price, times: 1 });
    if (cells > 1) changes.push({ change: 0, times: cells - 1 });
  }
  let seen = 0;
  let [gain, loss] = [0, 0];
  for (const { change, times } of changes) {
    for (let time = 0; time < times; time += 1) {
      const weight = seen < 14 ? seen / (seen + 1) : 13 / 14;
      // a mean of the changes so far, then Wilder's
      gain = gain * weight + Math.max(0, change) * (1 - weight);
      loss = loss * weight + Math.max(0, -change) * (1 - weight);
      seen += 1;
      // in 14th parts of what is kept: the program's unit is another one
      if (gain < NOTHING * 256 && loss < NOTHING * 256) gain = loss = 0;
      if (gain === 0 && loss === 0 && change === 0) {
        seen += times - time - 1;
        break;
      }
    }
  }
  if (seen < 14) return NaN;
  if (loss === 0) return gain === 0 ? 50 : 100;
  return (100 * gain) / (gain + loss);
}

export function bollingerOf(closes: readonly number[]): number {
  if (closes.length < 20 || new Set(closes).size === 1) return NaN;
  const mean = meanOf(closes, 1, 0);
  return (closes[19] - mean) / (2 * Math.sqrt(meanOf(closes, 2, mean)));
}

export function tickRateOf(known: readonly FeatureTick[], atUs: number): number {
  const end = Math.floor(atUs / SECOND_US);
  if (end - 301 < Math.floor(known[0].tsUs / SECOND_US)) return NaN;
  const counts = Array.from({ length: 301 }, () => 0);
  for (const { tsUs } of known) {
    const second = Math.floor(tsUs / SECOND_US);
    if (second >= end - 301 && second < end) counts[second - end + 301] += 1;
  }
  const before = counts.slice(0, 300);
  if (new Set(before).size === 1) return NaN;
  return (counts[300] - meanOf(before, 1, 0)) / deviationOf(before);
}

function pocOf(today: readonly FeatureTick[], width: number): number {
  const volumes = new Map<number, number>();
  for (const { price, size } of today) {
    if (size === null || size === 0) continue;
    const bin = decimalFloor(price, width);
    volumes.set(bin, (volumes.get(bin) ?? 0) + size);
  }
  const most = Math.max(...volumes.values());
  const fullest = [...volumes].filter(([, volume]) => volume === most).map(([bin]) => bin);
  return Math.min(...fullest) * width;
}

/** The quotient of two decimals rounded down, by whole numbers. */
export function decimalFloor(price: number, width: number): number {
  const [a, b] = [decimal(price), decimal(width)];
  const scale = Math.max(a.places, b.places);
  const [top, bottom] = [
    a.digits * 10n ** BigInt(scale - a.places),
    b.digits * 10n ** BigInt(scale - b.places),
  ];
  const quotient = top / bottom;
  return Number(top % bottom < 0n ? quotient - 1n : quotient);
}

function decimal(value: number): { digits: bigint; places: number } {
  const [mantissa, exponent = '0'] = value.toString().split('e');
  const [whole, fraction = ''] = mantissa.split('.');
  const places = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return places < 0 ? { digits: digits * 10n ** BigInt(-places), places: 0 } : { digits, places };
}

/** The largest of 1, 2, 5 times a power of ten that is not above. */
function niceWidth(width: number): number {
  if (width === 0) return 1;
  const power = Number(width.toExponential().split('e')[1]);
  return Math.max(...[1, 2, 5].map((digit) => Number(`${digit}e${power}`)).filter((nice) => nice <= width));
}
