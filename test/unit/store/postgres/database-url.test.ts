import { inspect } from 'node:util';
import { test } from 'tap';
import * as fc from 'fast-check';
import { databaseUrlSecrets } from '../../../../src/store/postgres/conninfo/keywords.ts';
import { parseDatabaseUrl } from '../../../../src/store/postgres/database-url.ts';

void test('the parts of a URL are taken as libpq takes them', async (t) => {
  const options = parseDatabaseUrl(
    'postgres://me:p%40ss@db.example:6543/market%20data?sslmode=require&connect_timeout=3',
  );
  t.match(options, {
    places: [{ host: 'db.example', hostaddr: null, port: 6543 }],
    user: 'me',
    database: 'market data',
    sslMode: 'require',
    connectTimeoutMs: 3000,
    serverOptions: null,
  });
  t.equal(options.password(), 'p@ss');
});

void test('what is not given has the defaults of libpq', async (t) => {
  const options = parseDatabaseUrl('postgresql://me@/');
  t.match(options, {
    places: [{ host: 'localhost', port: 5432 }],
    isShuffled: false,
    targetSession: 'any',
    user: 'me',
    database: 'me',
    sslMode: 'prefer',
    sslRootCert: null,
    sslNegotiation: 'postgres',
    requiresChannelBinding: false,
    connectTimeoutMs: 10_000,
  });
  t.match(options.passwordFile, /\/\.pgpass$/);
  t.match(options.sslClient, { cert: { path: /\.postgresql\/postgresql\.crt$/, isDefault: true } });
  t.equal(options.password(), null);
});

void test('parameters win over the authority, and name sockets, schemas and labels', async (t) => {
  const options = parseDatabaseUrl(
    'postgres://a:b@c:1/d?host=/var/run/postgresql&port=2&user=e&password=f&dbname=g&options=-csearch_path%3Dtenant&application_name=h',
  );
  t.match(options, {
    places: [{ host: '/var/run/postgresql', port: 2 }],
    user: 'e',
    database: 'g',
    serverOptions: '-csearch_path=tenant',
    applicationName: 'h',
  });
  t.equal(options.password(), 'f');
  t.equal(parseDatabaseUrl('postgres://u@[::1]:7/d').places[0].host, '::1');
  t.equal(parseDatabaseUrl('postgres://u@%2Ftmp/d').places[0].host, '/tmp');
});

void test('a password may hold # and ? unescaped, as in psql', async (t) => {
  const options = parseDatabaseUrl('postgres://u:a#b?c=d:e@h/d?sslmode=disable');
  t.equal(options.password(), 'a#b?c=d:e');
  t.match(options, { places: [{ host: 'h' }], database: 'd', sslMode: 'disable' });
});

function tls(query: string): unknown {
  const { sslMode, sslRootCert } = parseDatabaseUrl(`postgres://u@h/d?${query}`);
  return [sslMode, sslRootCert];
}

void test('TLS parameters have their meaning of libpq', async (t) => {
  t.same(tls('sslmode=require&sslrootcert=/ca.pem'), ['require', { path: '/ca.pem', isDefault: false }]);
  t.same(tls('sslrootcert=system'), ['verify-full', 'system']);
  for (const value of ['true', '1', 'require']) t.match(tls(`ssl=${value}`), ['require'], value);
  for (const mode of ['require', 'verify-ca'])
    t.match(tls(`sslmode=${mode}`), [mode, { path: /\.postgresql\/root\.crt$/, isDefault: true }]);
  t.throws(() => tls('sslmode=verify-ca&sslrootcert=system'), /verify-full/);
  t.throws(() => tls('sslmode=no-verify'), /unknown sslmode/);
  const client = parseDatabaseUrl('postgres://u@h/d?sslcert=/c.pem&sslkey=/k.pem&sslpassword=x').sslClient;
  t.match(client, { cert: { path: '/c.pem' }, key: { path: '/k.pem' } });
  t.equal(client?.passphrase(), 'x');
  const alone = parseDatabaseUrl('postgres://u@h/d?sslcert=/c.pem').sslClient;
  t.match(alone, { cert: { path: '/c.pem' }, key: { path: /\.postgresql\/postgresql\.key$/ } });
  t.equal(parseDatabaseUrl('postgres://u@h/d?sslcert=/c.pem&sslcertmode=disable').sslClient, null);
});

void test('each part ends where libpq ends it', async (t) => {
  const cases: [string, object, string | null][] = [
    ['u:p?x=1&y#z:w@h:1/d', { user: 'u', places: [{ host: 'h', port: 1 }], database: 'd' }, 'p?x=1&y#z:w'],
    ['u:%41%2f%3F%23%25%e2%82%ac@h/d', { places: [{ host: 'h' }] }, 'A/?#%€'],
    ['u:a+b@h/d+e', { database: 'd+e' }, 'a+b'],
    ['u:@h/d', { user: 'u', places: [{ host: 'h' }] }, null],
    ['u?x#y@h/d', { user: 'u?x#y', places: [{ host: 'h' }] }, null],
    ['h#x', { places: [{ host: 'h#x' }] }, null],
    ['u@h/d#x', { database: 'd#x' }, null],
    ['u@h/d/e', { database: 'd/e' }, null],
    ['u@h?sslmode=allow', { places: [{ host: 'h' }], database: 'u', sslMode: 'allow' }, null],
    ['u@:6/d', { places: [{ host: 'localhost', port: 6 }] }, null],
    ['u@h:/d', { places: [{ host: 'h', port: 5432 }] }, null],
    ['u@[fe80::1%25eth0]/d', { places: [{ host: 'fe80::1%eth0' }] }, null],
    ['u@h/d?password=a%26b%3d%23', { database: 'd' }, 'a&b=#'],
    [
      '/d?user=u&host=/run/pg&port=7',
      { user: 'u', places: [{ host: '/run/pg', port: 7 }], database: 'd' },
      null,
    ],
  ];
  for (const [rest, expected, password] of cases) {
    const options = parseDatabaseUrl(`postgresql://${rest}`);
    t.match(options, expected, rest);
    t.equal(options.password(), password, rest);
  }
});

void test('several hosts are tried in their order, and the server may have to be of a kind', async (t) => {
  const cases: [string, [string, string | null, number][]][] = [
    [
      'u@a,b/d',
      [
        ['a', null, 5432],
        ['b', null, 5432],
      ],
    ],
    [
      'u@a:1,b:2/d',
      [
        ['a', null, 1],
        ['b', null, 2],
      ],
    ],
    [
      'u@a:1,b/d',
      [
        ['a', null, 1],
        ['b', null, 5432],
      ],
    ],
    [
      'u@a,b/d?port=7',
      [
        ['a', null, 7],
        ['b', null, 7],
      ],
    ],
    [
      'u@[::1]:1,b/d',
      [
        ['::1', null, 1],
        ['b', null, 5432],
      ],
    ],
    [
      '/d?host=a,b&port=1,2&user=u',
      [
        ['a', null, 1],
        ['b', null, 2],
      ],
    ],
    [
      'u@a,b/d?hostaddr=10.0.0.1,10.0.0.2',
      [
        ['a', '10.0.0.1', 5432],
        ['b', '10.0.0.2', 5432],
      ],
    ],
    ['u@/d?hostaddr=10.0.0.1', [['10.0.0.1', '10.0.0.1', 5432]]],
  ];
  for (const [rest, expected] of cases) {
    const { places } = parseDatabaseUrl(`postgres://${rest}`);
    t.same(
      places.map(({ host, hostaddr, port }) => [host, hostaddr, port]),
      expected,
      rest,
    );
  }
  const { targetSession, isShuffled } = parseDatabaseUrl(
    'postgres://u@a,b/d?target_session_attrs=prefer-standby&load_balance_hosts=random',
  );
  t.same([targetSession, isShuffled], ['prefer-standby', true]);
});

void test('what hosted databases hand out is taken', async (t) => {
  const parameters = [
    'sslmode=require&channel_binding=require',
    'sslmode=require&channel_binding=prefer',
    'pgbouncer=true',
    'sslmode=require&options=endpoint%3Dep-x',
    'sslmode=verify-full&sslrootcert=system&sslnegotiation=direct',
    'sslmode=require&uselibpqcompat=true',
    'ssl_min_protocol_version=TLSv1.3&sslsni=1&gssencmode=disable&keepalives=1&connect_timeout=-1',
  ];
  for (const each of parameters) t.ok(parseDatabaseUrl(`postgres://u:p@h/d?${each}`), each);
  t.equal(parseDatabaseUrl(`postgres://u:p@h/d?${parameters[0]}`).requiresChannelBinding, true);
});

void test('any password is understood, escaped where it must be', async (t) => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'binary' }), (password) => {
      if (password.includes('\0')) return true;
      const mustBe = password.replace(/[@/%]/g, encodeURIComponent);
      return [mustBe, encodeURIComponent(password)].every(
        (written) =>
          parseDatabaseUrl(`postgres://u:${written}@h/d`).password() === password &&
          databaseUrlSecrets(`postgres://u:${written}@host/db`).every((each) =>
            [written, password].includes(each),
          ),
      );
    }),
    { numRuns: 1000, seed: 11 },
  );
  t.pass('1000 passwords, written in two ways');
});

void test('what cannot be meant is refused with a reason', async (t) => {
  const cases: [string, RegExp][] = [
    ['mysql://u@h/d', /not a database URL .* does not begin with postgres/],
    ['host=h dbname=d', /not a database URL .* does not begin with postgres/],
    ['postgres://u@h1,h2/d?port=1,2,3', /3 ports for 2 hosts/],
    ['postgres://u@h1,h2/d?hostaddr=127.0.0.1', /1 hostaddr for 2 hosts/],
    ['postgres://u@[::1/d', /IPv6/],
    ['postgres://u@[::1]x/d', /IPv6/],
    ['postgres://u@[]/d', /IPv6/],
    ['postgres://u:p@ss@h/d', /%40 and %2F/],
    ['postgres://u:12/ss@h/d', /%40 and %2F/],
    ['postgres://u:p%00@h/d', /%00/],
    ['postgres://u:p%ff@h/d', /no UTF-8/],
    ['postgres://u:100%@h/d', /begins no escape/],
    ['postgres://u@h:x/d', /no valid URL: its port/],
    ['postgres://u@h/d?ssl=no-verify', /use sslmode/],
    ['postgres://u@h:0/d', /port/],
    ['postgres://u@h:65536/d', /port/],
    ['postgres://u:%zz@h/d', /password .* %25/],
    ['postgres://u@h/d?connect_timeout=soon', /connect_timeout/],
    ['postgres://u@h/d?sslmodus=require', /parameter sslmodus .* not supported/],
    ['postgres://u@h/d?gssencmode=require', /gssencmode/],
    ['postgres://u@h/d?channel_binding=require&sslmode=disable', /channel_binding/],
    ['postgres://u@h/d?channel_binding=maybe', /channel_binding/],
    ['postgres://u@h/d?target_session_attrs=master', /target_session_attrs/],
    ['postgres://u@h/d?load_balance_hosts=yes', /load_balance_hosts/],
    ['postgres://u@h/d?sslnegotiation=direct', /sslnegotiation/],
    ['postgres://u@h/d?ssl=false', /use sslmode/],
    ['postgres://u@h/d?sslcrl=/crl.pem', /parameter sslcrl .* not supported/],
    ['postgres://u@h/d?require_auth=md5', /parameter require_auth .* not supported/],
    ['postgres://u@h/d?schema=tenant', /parameter schema .*search_path/],
  ];
  for (const [url, reason] of cases) t.throws(() => parseDatabaseUrl(url), { message: reason }, url);
});

void test('no password appears in an error, an inspection or JSON, whatever it holds', async (t) => {
  const anyPassword = fc.string({ minLength: 6, maxLength: 20 }).map((tail) => `Zq7${tail}`);
  const shapes = [
    (password: string) => `postgres://u:${password}@h/d?sslmode=verify-nothing`,
    (password: string) => `postgres://u:${encodeURIComponent(password)}@h/d`,
    (password: string) => `postgres://u:${password}@h1,h2/d?hostaddr=::1`,
    (password: string) => `postgres://u:${password}@h/d?port=x`,
    (password: string) => `postgres://u:1/${password}@h/d`,
    (password: string) => `postgres://u:a@${password}@h/d`,
  ];
  fc.assert(
    fc.property(anyPassword, fc.constantFrom(...shapes), (password, shape) => {
      let shown: string;
      try {
        const options = parseDatabaseUrl(shape(password));
        shown = inspect(options, { depth: 5 }) + JSON.stringify(options);
      } catch (error) {
        shown = inspect(error, { depth: 5 });
      }
      // its unmistakable beginning stands for all of it
      return !shown.includes('Zq7');
    }),
    { numRuns: 500, seed: 7 },
  );
  t.pass('500 passwords in six shapes');
});
