import { test } from 'tap';
import { takesOver, takesOverFromCutOff } from '../prove/takeover.ts';
import { chainSpec } from '../support/expected.ts';
import { startPostgres } from '../support/postgres.ts';
import { isFull } from '../support/scale.ts';
import { sceneOf, tell } from '../support/scene.ts';

void test('two daemons at once', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const scene = sceneOf(t, () => server.createDatabase());
  await t.test('takeover from a leader that is killed, and from one that is frozen', async (t) => {
    tell(t, await takesOver(scene, chainSpec({ seed: 61, ticksPerSecond: 2000n })));
  });
  const skip = isFull ? false : 'a session is given up after 30 s: full size only';
  await t.test('takeover from a leader that is cut off', { skip }, async (t) => {
    tell(t, await takesOverFromCutOff(scene, chainSpec({ seed: 62, ticksPerSecond: 2000n })));
  });
});
