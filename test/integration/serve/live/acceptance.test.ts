import { after, test } from 'tap';
import { seesExactlyWhatIsStored } from '../../../prove/api/live.ts';
import { isNotFilledBySlowClients, isPromptForMany } from '../../../prove/api/live-load.ts';
import { SMALL } from '../../../prove/api/small.ts';
import { answersFast } from '../../../prove/api/speed.ts';
import { contextOf, tried } from '../../../support/harness.ts';
import { startPostgres, type TestPostgres } from '../../../support/servers/postgres.ts';

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

async function database(): Promise<string> {
  postgres ??= await startPostgres({ settings: { synchronous_commit: 'on' } });
  return postgres.createDatabase();
}

void test('a client that is cut over and over sees exactly what is stored, from an hour back', (t) =>
  tried(t, () => seesExactlyWhatIsStored(contextOf(t, database), 'redis', SMALL.cuts)));

void test('clients that take nothing do not fill the memory', (t) =>
  tried(t, () => isNotFilledBySlowClients(contextOf(t, database), 'redis', SMALL.slow)));

void test('every client of many gets what is published', (t) =>
  tried(t, () => isPromptForMany(contextOf(t, database), 'redis', SMALL.prompt)));

void test('the webhook and queries answer many at once, and nothing but 200', (t) =>
  tried(t, () => answersFast(contextOf(t, database), 'redis', SMALL.speed)));
