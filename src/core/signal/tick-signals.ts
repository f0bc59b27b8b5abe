import { featureSet, type FeatureSet, type FeatureSettings } from '../feature/catalogue.ts';
import { intervalName } from '../market/interval.ts';
import type { FeatureRow, Signal } from './signal.ts';

/** What the signal consumer says at each tick, and over which window: null, its own. */
const NAMES = [
  'vwap_deviation_bps',
  'spread_bps',
  'tick_rate_z',
  'rsi',
  'bollinger',
  'order_imbalance',
  'vp_distance_bps',
] as const;

export type TickSignalName = (typeof NAMES)[number];

export const TICK_SIGNALS: readonly TickSignalName[] = NAMES;

/** Only the features that the signals are. */
export function tickSignalSet(settings: FeatureSettings): FeatureSet {
  const all = featureSet({ ...settings, windows: [] });
  const specs = NAMES.map((name) => {
    const spec = all.specs.find((each) => each.name === name);
    if (spec === undefined) throw new Error(`no feature ${name}`);
    return spec;
  });
  return { ...all, specs, names: NAMES, shape: `${all.shape};signals` };
}

/** The signals of looks at a tickSignalSet; a feature that is null is no signal, nor is the spread of an earlier tick. */
export function tickSignals(rows: readonly FeatureRow[], windows: readonly string[]): Signal[] {
  const signals: Signal[] = [];
  for (const { runId, provider, symbol, tsUs, price, values, isQuoted } of rows) {
    for (let at = 0; at < NAMES.length; at += 1) {
      const value = values[at];
      const name = NAMES[at];
      if (Number.isNaN(value) || (name === 'spread_bps' && !isQuoted)) continue;
      signals.push({
        runId,
        provider,
        symbol,
        tsUs,
        name,
        value,
        score: null,
        window: windows[at],
        price,
        modelVersion: null,
      });
    }
  }
  return signals;
}

const DAY_MS = 86_400_000;

/** What each of them is computed over, as `meta.window` says it. */
export function tickSignalWindows({ specs, gridMs }: FeatureSet): string[] {
  const own: Partial<Record<string, number>> = {
    vwap_deviation_bps: DAY_MS,
    vp_distance_bps: DAY_MS,
    tick_rate_z: 300_000,
    rsi: 14 * gridMs,
    bollinger: 20 * gridMs,
  };
  return specs.map(({ name, horizonMs }) => {
    const ms = horizonMs ?? own[name];
    return ms === undefined ? 'tick' : intervalName(ms);
  });
}
