import { test } from 'tap';
import { TAKEOVER_SETTINGS, takesOver, takesOverFromCutOff } from '../../prove/chain/takeover.ts';
import { chainSpec } from '../../support/chain/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { isFull, scaled } from '../../support/scale.ts';
import { sceneOf, tell } from '../../support/harness.ts';

void test('two daemons at once', async (t) => {
  const server = await startPostgres({ settings: TAKEOVER_SETTINGS });
  t.after(() => server.stop());
  const scaledFreeze = { frozenMs: scaled(500, 30_000), isTimed: isFull };
  const scene = sceneOf(t, () => server.createDatabase());
  await t.test('takeover from a leader that is killed, and from one that is frozen', async (t) => {
    tell(
      t,
      await takesOver(scene, { spec: chainSpec({ seed: 61, ticksPerSecond: 2000n }), ...scaledFreeze }),
    );
  });
  const skip = isFull ? false : 'a session is given up after 30 s: full size only';
  await t.test('takeover from a leader that is cut off', { skip }, async (t) => {
    tell(
      t,
      await takesOverFromCutOff(scene, {
        spec: chainSpec({ seed: 62, ticksPerSecond: 2000n }),
        ...scaledFreeze,
      }),
    );
  });
});
