import { test } from 'tap';
import { takesOver } from '../prove/takeover.ts';
import { chainSpec } from '../support/expected.ts';
import { startPostgres } from '../support/postgres.ts';
import { scaled } from '../support/scale.ts';
import { sceneOf, tell } from '../support/scene.ts';

void test('two daemons at once', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const scene = sceneOf(t, () => server.createDatabase());
  const size = { spec: chainSpec({ seed: 61, ticksPerSecond: 2000n }), count: scaled(40_000, 100_000) };
  tell(t, await takesOver(scene, size));
});
