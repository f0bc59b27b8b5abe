import { test } from 'tap';
import { survivesBlackHoles } from '../../prove/chain/database/black-hole.ts';
import {
  DISK_SETTINGS,
  survivesFullDisk,
  survivesFullLogDisk,
} from '../../prove/chain/database/disk-full.ts';
import { FROZEN_COMMIT_SETTINGS, survivesFrozenCommits } from '../../prove/chain/database/frozen-commit.ts';
import { survivesRestarts } from '../../prove/chain/process/restarts.ts';
import { survivesTerminations } from '../../prove/chain/database/terminations.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { scaled } from '../../support/scale.ts';
import { contextOf, tell, tried } from '../../support/harness.ts';

const spec = chainSpec({ seed: 141, ticksPerSecond: 2000n, hostile: true });

void test('a server that is restarted, ends sessions, vanishes', async (t) => {
  const server = await startPostgres({ settings: FROZEN_COMMIT_SETTINGS });
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());

  await t.test('restarts, fast and immediate', async (t) => {
    tell(t, await survivesRestarts(context, server, { spec, restarts: scaled(2, 20) }));
  });
  await t.test('every session is ended every second', async (t) => {
    tell(t, await survivesTerminations(context, { spec, forMs: scaled(3_000, 30_000) }));
  });
  await t.test('a black hole', async (t) => {
    tell(t, await survivesBlackHoles(context, { spec, holesMs: scaled([3_000], [60_000]) }));
  });
  await t.test('a backend that is stopped in its COMMIT', async (t) => {
    tell(t, await survivesFrozenCommits(context, { spec, ways: scaled(['cut'], ['silence', 'cut']) }));
  });
});

void test('a disk that is full and freed', async (t) => {
  const size = { spec, rounds: scaled(1, 5), fullMs: scaled(500, 5_000) };
  for (const [name, survives] of [
    ['of the tables', survivesFullDisk],
    ["of the server's log", survivesFullLogDisk],
  ] as const) {
    await t.test(name, async (t) => {
      const server = await startPostgres({ settings: DISK_SETTINGS });
      t.after(() => server.stop());
      const context = contextOf(t, () => server.createDatabase());
      await tried(t, () => survives(context, server, size));
    });
  }
});
