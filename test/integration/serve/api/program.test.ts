import { test } from 'tap';
import { conformsToItsDescription } from '../../../prove/api/conformance.ts';
import { refusesStrangers } from '../../../prove/api/security.ts';
import { SMALL } from '../../../prove/api/small.ts';
import { contextOf, tried } from '../../../support/harness.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';

void test('mdp serve answers as its description says', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const context = contextOf(t, () => server.createDatabase(undefined, { schema: false }));
  await tried(t, () => conformsToItsDescription(context, SMALL.conformance));
});

void test('mdp serve refuses what strangers send, and serves others meanwhile', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const context = contextOf(t, () => server.createDatabase(undefined, { schema: false }));
  await tried(t, () => refusesStrangers(context, SMALL.security));
});
