import type { Test } from 'tap';
import type { Figures, Scene } from '../prove/scene.ts';
import { seededRandom } from './random.ts';

/** The scene of a test: databases from its server, choices from a seed that is printed. */
export function sceneOf(t: Test, database: () => Promise<string>): Scene {
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
