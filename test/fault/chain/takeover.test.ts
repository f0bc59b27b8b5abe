import { test } from 'tap';
import { TAKEOVER_SETTINGS, takesOver, takesOverFromCutOff } from '../../prove/chain/process/takeover.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { isFull, scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

void test('two daemons at once', async (t) => {
  const server = await startPostgres({ settings: TAKEOVER_SETTINGS });
  t.after(() => server.stop());
  const scaledFreeze = { frozenMs: scaled(500, 30_000), isTimed: isFull };
  const context = contextOf(t, () => server.createDatabase());
  await t.test('takeover from a leader that is killed, and from one that is frozen', async (t) => {
    tell(
      t,
      await takesOver(context, { spec: chainSpec({ seed: 61, ticksPerSecond: 2000n }), ...scaledFreeze }),
    );
  });
  const skip = isFull ? false : 'a session is given up after 30 s: full size only';
  await t.test('takeover from a leader that is cut off', { skip }, async (t) => {
    tell(
      t,
      await takesOverFromCutOff(context, {
        spec: chainSpec({ seed: 62, ticksPerSecond: 2000n }),
        ...scaledFreeze,
      }),
    );
  });
});
