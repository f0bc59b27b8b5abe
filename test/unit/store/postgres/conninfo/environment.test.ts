import { test } from 'tap';
import { completeDatabaseUrl } from '../../../../../src/store/postgres/conninfo/environment.ts';
import { databaseUrlSecrets } from '../../../../../src/store/postgres/conninfo/keywords.ts';
import { parseDatabaseUrl } from '../../../../../src/store/postgres/database-url.ts';

function complete(url: string, env: Record<string, string>): string {
  return completeDatabaseUrl(url, (name) => env[name] ?? null);
}

void test('a variable of libpq counts where the URL says nothing', async (t) => {
  const env = {
    PGHOST: 'a,b',
    PGPORT: '1,2',
    PGUSER: 'me',
    PGPASSWORD: 'p@ss/w?r&d%',
    PGDATABASE: 'market data',
    PGSSLMODE: 'require',
    PGOPTIONS: '-csearch_path=tenant',
    PGAPPNAME: 'ours',
    PGCONNECT_TIMEOUT: '3',
    PGTARGETSESSIONATTRS: 'read-write',
    PGPASSFILE: '/run/pgpass',
    PGTZ: 'Europe/Berlin',
  };
  const url = complete('postgres://', env);
  const options = parseDatabaseUrl(url);
  t.match(options, {
    places: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
    user: 'me',
    database: 'market data',
    sslMode: 'require',
    serverOptions: '-csearch_path=tenant',
    applicationName: 'ours',
    connectTimeoutMs: 3000,
    targetSession: 'read-write',
    passwordFile: '/run/pgpass',
  });
  t.equal(options.password(), env.PGPASSWORD);
  t.ok(databaseUrlSecrets(url).includes(env.PGPASSWORD), 'and it is known as a secret');

  const written = 'postgres://u:a?b@h:5/d?sslmode=disable&options=-cx=y&application_name=z&connect_timeout=9';
  const own = parseDatabaseUrl(complete(written, env));
  t.match(own, { places: [{ host: 'h', port: 5 }], user: 'u', database: 'd', sslMode: 'disable' });
  t.match(own, { serverOptions: '-cx=y', applicationName: 'z', connectTimeoutMs: 9000 });
  t.equal(own.password(), 'a?b');
  t.equal(complete(written, {}), written);
  t.match(parseDatabaseUrl(complete('postgres://u@h?sslmode=allow', { PGPORT: '7' })), {
    places: [{ host: 'h', port: 7 }],
    sslMode: 'allow',
  });
  t.equal(parseDatabaseUrl(complete('postgres://u@h/d', { PGREQUIRESSL: '1' })).sslMode, 'require');
  t.equal(
    parseDatabaseUrl(complete('postgres://u@h/d?ssl=true', { PGSSLMODE: 'disable' })).sslMode,
    'require',
  );
});

void test('what a variable makes impossible is refused with its name', async (t) => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ PGSSLMODE: 'maybe' }, /unknown sslmode .*with PGSSLMODE of the environment/],
    [{ PGSERVICE: 'mine' }, /parameter service .*PGSERVICE/],
    [{ PGREQUIREAUTH: 'md5' }, /parameter require_auth .*PGREQUIREAUTH/],
    [{ PGPORT: '1,2' }, /2 ports for 1 hosts.*PGPORT/],
    [
      { PGCHANNELBINDING: 'require', PGSSLMODE: 'disable' },
      /channel_binding=require.*PGCHANNELBINDING, PGSSLMODE/,
    ],
  ];
  for (const [env, reason] of cases) t.throws(() => complete('postgres://u@h/d', env), { message: reason });
});
