import type { Test } from 'tap';
import { Skipped, type Figures, type ScenarioContext } from '../prove/harness.ts';
import { seededRandom } from './random.ts';

/** The context of a test: databases from its server, choices from a seed that is printed. */
export function contextOf(t: Test, database: () => Promise<string>): ScenarioContext {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  return { database, random, say: (text) => t.comment(text) };
}

export function tell(t: Test, figures: Figures): void {
  t.comment(
    Object.entries(figures)
      .map(([name, value]) => `${name}: ${value}`)
      .join(', '),
  );
}

/** A scenario that this machine does not allow skips its test. */
export async function tried(t: Test, run: () => Promise<Figures>): Promise<void> {
  try {
    tell(t, await run());
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    t.plan(0, error.message);
  }
}
