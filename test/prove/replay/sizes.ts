import type { BurstSize, KillSize } from './burst.ts';
import type { PacingSize } from './pacing.ts';

interface Sizes {
  burst: BurstSize;
  kill: KillSize;
  pacing: PacingSize;
  equality: { ticks: number };
}

export const FULL: Sizes = {
  burst: { ticks: 1_000_000, ticksPerSecondMin: 100_000 },
  kill: { ticks: 1_000_000, speed: 0 },
  pacing: { ticks: 4_000, spacingMsMax: 5, pauseMs: 5_000, pauseErrorMsMax: 500 },
  equality: { ticks: 100_000 },
};

export const SMALL: Sizes = {
  burst: { ticks: 20_000, ticksPerSecondMin: null },
  // of 4 s: a burst of so few would be over
  kill: { ticks: 20_000, speed: 0.005 },
  pacing: { ticks: 600, spacingMsMax: null, pauseMs: 500, pauseErrorMsMax: null },
  equality: { ticks: 4_000 },
};
