import { test } from 'tap';
import {
  drainsOnSigterm,
  endsAtSecondSignal,
  timesOutWithoutDatabase,
} from '../../prove/chain/process/shutdown.ts';
import { chainSpec } from '../../support/chain/content/expected.ts';
import { startPostgres } from '../../support/servers/postgres.ts';
import { isFull, scaled } from '../../support/scale.ts';
import { contextOf, tell } from '../../support/harness.ts';

void test('SIGTERM', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const context = contextOf(t, () => server.createDatabase());
  const size = {
    spec: chainSpec({ seed: 41 }),
    count: scaled(40_000, 300_000),
    bytesPerSecond: scaled(8e6, 4e6),
  };

  await t.test('under load: exit 0, and what was read is stored', async (t) => {
    tell(t, await drainsOnSigterm(context, size));
  });
  await t.test('a second signal ends the drain', async (t) => {
    tell(t, await endsAtSecondSignal(context, size));
  });
  const skip = isFull ? false : 'the drain takes 30 s: full size only';
  await t.test('without a database: times out, and nothing is lost', { skip }, async (t) => {
    tell(t, await timesOutWithoutDatabase(context, size));
  });
});
