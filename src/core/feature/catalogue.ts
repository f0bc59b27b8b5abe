/** What is computed: a name's base decides, which is the name up to its first `_` followed by a window, or all of it. */
export type FeatureKind =
  | 'vwap'
  | 'ret'
  | 'vol'
  | 'volatility'
  | 'skewness'
  | 'kurtosis'
  | 'order_imbalance'
  | 'rsi'
  | 'bollinger'
  | 'tick_rate_z'
  | 'spread_bps'
  | 'vwap_deviation_bps'
  | 'vp_distance_bps';

/** A feature by its name. */
export interface FeatureSpec {
  name: string;
  kind: FeatureKind;
  /** the window h, ms; null: the feature's own, which cannot be chosen */
  horizonMs: number | null;
}

/** Base names, in the order of columns: what each computes over which window, ms, where none is configured. */
const BASES: readonly FeatureSpec[] = [
  { name: 'vwap', kind: 'vwap', horizonMs: 60_000 },
  { name: 'ret', kind: 'ret', horizonMs: 30_000 },
  { name: 'momentum', kind: 'ret', horizonMs: 60_000 },
  { name: 'vol', kind: 'vol', horizonMs: 300_000 },
  { name: 'volatility', kind: 'volatility', horizonMs: 300_000 },
  { name: 'rsi', kind: 'rsi', horizonMs: null },
  { name: 'skewness', kind: 'skewness', horizonMs: 300_000 },
  { name: 'kurtosis', kind: 'kurtosis', horizonMs: 300_000 },
  { name: 'bollinger', kind: 'bollinger', horizonMs: null },
  { name: 'tick_rate_z', kind: 'tick_rate_z', horizonMs: null },
  { name: 'spread_bps', kind: 'spread_bps', horizonMs: null },
  { name: 'vwap_deviation_bps', kind: 'vwap_deviation_bps', horizonMs: null },
  { name: 'order_imbalance', kind: 'order_imbalance', horizonMs: 60_000 },
  { name: 'vp_distance_bps', kind: 'vp_distance_bps', horizonMs: null },
];

/** the longest window: what a symbol keeps grows with it */
export const HORIZON_MAX_MS = 3_600_000;
const GRID_MS = { min: 100, max: 60_000 };
const NAME = /^[a-z][a-z0-9_]{0,62}$/;

export interface FeatureSettings {
  /** length of a cell of closes, ms */
  gridMs: number;
  /** further features: vwap_1m of 60 s */
  windows: readonly { name: string; horizonMs: number }[];
  /** width of the bins of vp_distance_bps, in units of the price; null: about a ten-thousandth of the day's first price */
  priceBin: number | null;
}

export const DEFAULT_FEATURES: FeatureSettings = { gridMs: 1_000, windows: [], priceBin: null };

/** Which features there are: those of the base names, then the configured windows. */
export interface FeatureSet {
  gridMs: number;
  priceBin: number | null;
  specs: readonly FeatureSpec[];
  /** names, in the order of values and columns */
  names: readonly string[];
  /** tells apart what states and rows of two settings mean */
  shape: string;
}

/** @throws RangeError that names the window and what is wrong with it */
export function featureSet(settings: FeatureSettings = DEFAULT_FEATURES): FeatureSet {
  const { gridMs, windows, priceBin } = settings;
  if (!Number.isInteger(gridMs) || gridMs < GRID_MS.min || gridMs > GRID_MS.max)
    throw new RangeError(`a grid of ${gridMs} ms: it must be ${GRID_MS.min} ms to ${GRID_MS.max / 1000} s`);
  if (priceBin !== null && !(priceBin > 0 && Number.isFinite(priceBin)))
    throw new RangeError(`a price bin of ${priceBin}: it must be above 0`);
  const specs = BASES.map((base) => checked(base, gridMs));
  for (const { name, horizonMs } of windows) {
    if (specs.some((spec) => spec.name === name)) throw new RangeError(`there are two features ${name}`);
    specs.push(checked({ ...baseOf(name), name, horizonMs }, gridMs));
  }
  return {
    gridMs,
    priceBin,
    specs,
    names: specs.map(({ name }) => name),
    shape: `2;${gridMs};${priceBin ?? ''};${specs.map(({ name, kind, horizonMs }) => `${name}=${kind}/${horizonMs ?? ''}`).join(',')}`,
  };
}

/** Base names with a window that can be chosen. */
export const WINDOWED: readonly string[] = BASES.filter(({ horizonMs }) => horizonMs !== null).map(
  ({ name }) => name,
);

function baseOf(name: string): FeatureSpec {
  if (!NAME.test(name))
    throw new RangeError(
      `feature ${JSON.stringify(name)}: a name is a-z, 0-9 and _, and begins with a letter`,
    );
  // the longest base is meant: order_imbalance_5m is none of "order"
  const base = BASES.filter((each) => name === each.name || name.startsWith(`${each.name}_`)).sort(
    (a, b) => b.name.length - a.name.length,
  )[0];
  if (base === undefined)
    throw new RangeError(
      `feature ${name}: it begins with none of ${WINDOWED.map((each) => `${each}_`).join(', ')}`,
    );
  if (base.horizonMs === null)
    throw new RangeError(`feature ${name}: the window of ${base.name} is its own and cannot be chosen`);
  return base;
}

function checked(spec: FeatureSpec, gridMs: number): FeatureSpec {
  const { name, kind, horizonMs } = spec;
  if (horizonMs === null) return spec;
  if (!Number.isInteger(horizonMs) || horizonMs <= 0 || horizonMs > HORIZON_MAX_MS)
    throw new RangeError(
      `feature ${name}: a window of ${horizonMs} ms; it must be 1 ms to ${HORIZON_MAX_MS / 1000} s`,
    );
  if (cellsMin(kind) === null) return spec;
  if (horizonMs % gridMs !== 0 || horizonMs / gridMs < (cellsMin(kind) ?? 0))
    throw new RangeError(
      `feature ${name}: a window of ${horizonMs} ms; it must be a multiple of the grid of ${gridMs} ms, and at least ${cellsMin(kind)} of its cells`,
    );
  return spec;
}

/** Fewest log returns of closes that it is defined for; null: it is not over closes. */
function cellsMin(kind: FeatureKind): number | null {
  return CELLS_MIN[kind] ?? null;
}

const CELLS_MIN: Readonly<Partial<Record<FeatureKind, number>>> = {
  vol: 2,
  volatility: 2,
  skewness: 3,
  kurtosis: 4,
};
