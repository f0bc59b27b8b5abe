import { featureSet, type FeatureSettings } from '../../../core/feature/catalogue.ts';

interface FeatureKeys {
  grid: number;
  price_bin?: number | undefined;
  windows: readonly { name: string; horizon: number }[];
}

/** What is wrong with the windows of features; null: nothing. */
export function featureProblem(features: FeatureKeys): string | null {
  try {
    featureSet(featureSettings(features));
    return null;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return error.message;
  }
}

/** The section `features` as core/feature has it. */
export function featureSettings({ grid, price_bin, windows }: FeatureKeys): FeatureSettings {
  return {
    gridMs: grid,
    priceBin: price_bin ?? null,
    windows: windows.map(({ name, horizon }) => ({ name, horizonMs: horizon })),
  };
}
