import { test } from 'tap';
import { survivesStorm } from '../prove/storm.ts';
import { chainSpec } from '../support/expected.ts';
import { startPostgres } from '../support/postgres.ts';
import { scaled } from '../support/scale.ts';
import { sceneOf, tell } from '../support/scene.ts';

void test('everything at once', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const scene = sceneOf(t, () => server.createDatabase());
  // the real chain has transactions now and then; here each tick has one, so that each kind of damage fits each tick
  const spec = chainSpec({ seed: 99, txs: 1, hostile: true });
  tell(t, await survivesStorm(scene, { spec, count: scaled(30_000, 400_000), blows: scaled(4, 60) }));
});
