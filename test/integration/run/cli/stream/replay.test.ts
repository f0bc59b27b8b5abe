import { after, test } from 'tap';
import { namesMistakes } from '../../../../prove/replay/mistakes.ts';
import { contextOf, tried } from '../../../../support/harness.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';

const server = await sharedPostgres();
after(() => server.stop());

void test('mistakes on the command line of replays are named', (t) =>
  tried(t, () =>
    namesMistakes(
      contextOf(t, () => server.createDatabase(undefined, { schema: false })),
      'postgres',
    ),
  ));
