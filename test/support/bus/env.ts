import type { Env } from '../../../src/core/env.ts';
import { systemClock } from '../../../src/core/time.ts';

/** The real clock and chance, and a log that says nothing; each can be replaced. */
export function testEnv(overrides: Partial<Env> = {}): Env {
  return { log: () => {}, clock: systemClock, random: Math.random, ...overrides };
}
