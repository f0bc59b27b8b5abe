import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { readPasswordFile } from '../../../../../src/store/postgres/conninfo/password-file.ts';

void test('the first line that fits counts; what others may read does not', async (t) => {
  const path = join(t.testdir(), 'pgpass');
  const lines = [
    '# a comment',
    'db.example:5432:market:me:first',
    'db.example:*:market:me:any port',
    'localhost:5432:*:*:on the socket',
    '\\:\\:1:5432:market:me:of an address',
    '*:*:*:odd\\:user:with \\\\ and \\: in it',
    'too:short',
  ];
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  const of = (host: string, port: number, user = 'me'): unknown =>
    readPasswordFile(path, { host, hostaddr: null, port }, { database: 'market', user });
  t.same(of('db.example', 5432), { password: 'first' });
  t.same(of('db.example', 6), { password: 'any port' });
  t.same(of('/var/run/postgresql', 5432), { password: 'on the socket' });
  t.same(of('::1', 5432), { password: 'of an address' });
  t.same(of('x', 1, 'odd:user'), { password: 'with \\ and : in it' });
  t.match(of('x', 1), { password: null, reason: /has no line for x:1:market:me/ });
  await chmod(path, 0o640);
  t.match(of('db.example', 5432), { password: null, reason: /chmod 0600/ });
  const none = readPasswordFile(
    join(path, 'x'),
    { host: 'h', hostaddr: null, port: 1 },
    { database: 'd', user: 'u' },
  );
  t.match(none, { password: null });
});
