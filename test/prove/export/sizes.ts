import type { FilesPlan } from './files.ts';

export const FULL_FILES: FilesPlan = { ticks: 10_000_000, csvRatioMin: 0.7 };
export const SMALL_FILES: FilesPlan = { ticks: 100_000, csvRatioMin: null };
