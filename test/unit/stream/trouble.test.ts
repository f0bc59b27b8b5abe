import { DatabaseError } from 'pg';
import { test } from 'tap';
import { BusError } from '../../../src/bus/bus.ts';
import { isSchemaBehind, SchemaBehind } from '../../../src/store/schema/behind.ts';
import { databaseTrouble } from '../../../src/stream/trouble.ts';

const answer = (code: string): DatabaseError =>
  Object.assign(new DatabaseError('said', 4, 'error'), { code });

void test('a schema that is behind is named with its command, however it was found', (t) => {
  t.match(databaseTrouble(new SchemaBehind(['003_bus_log.sql'])), {
    level: 'error',
    message: /003_bus_log\.sql is not applied\. Run "mdp db migrate".*goes on by itself/,
  });
  for (const code of ['42P01', '42703', '42883', '3F000'])
    t.match(databaseTrouble(answer(code)), {
      level: 'error',
      message: /^The schema is behind.*mdp db migrate/,
    });
  t.ok(isSchemaBehind(new BusError('setup', 'a bus in the database', answer('42P01'))));
  t.notOk(isSchemaBehind(new BusError('unreachable', 'away', new Error('ECONNREFUSED'))));
  t.end();
});

void test('an answer is not called silence', (t) => {
  t.match(databaseTrouble(answer('42501')).message, /refuses/);
  t.match(databaseTrouble(answer('57P01')).message, /does not answer/);
  t.match(databaseTrouble(new Error('ECONNREFUSED')).message, /does not answer/);
  t.match(databaseTrouble(answer('53400')).message, /limit of its configuration/);
  t.end();
});
