import { after, test } from 'tap';
import { keepsWhatItAnswered } from '../../prove/api/answered.ts';
import { SMALL } from '../../prove/api/small.ts';
import { BUSES } from '../../prove/bus/harness.ts';
import { contextOf, tried } from '../../support/harness.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

async function database(): Promise<string> {
  postgres ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
  return postgres.createDatabase();
}

for (const bus of BUSES)
  void test(`${bus}: what the webhook answered is kept, whenever its daemon is killed`, (t) =>
    tried(t, () => keepsWhatItAnswered(contextOf(t, database), bus, SMALL.answered)));
