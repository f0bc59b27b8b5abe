import { execFileSync } from 'node:child_process';
import { chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { test, type Test } from 'tap';
import type { Client } from 'pg';
import { connect, ConnectError, connectFailureKind } from '../../../../src/store/postgres/connect.ts';
import { parseDatabaseUrl } from '../../../../src/store/postgres/database-url.ts';
import { startPostgres, type TestPostgres } from '../../../support/servers/postgres.ts';

const hasOpenssl = ((): boolean => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

function withParameters(url: string, parameters: Record<string, string>): string {
  const changed = new URL(url);
  for (const [name, value] of Object.entries(parameters)) changed.searchParams.set(name, value);
  return changed.href;
}

/** Whether the session is encrypted, as the server sees it. */
async function encrypted(url: string, parameters: Record<string, string>): Promise<boolean> {
  const client = await connect(parseDatabaseUrl(withParameters(url, parameters)), {
    applicationName: 'connect.test',
  });
  try {
    const { rows } = await client.query<{ ssl: boolean }>(
      'select ssl from pg_stat_ssl where pid = pg_backend_pid()',
    );
    return rows[0]?.ssl ?? false;
  } finally {
    await client.end();
  }
}

async function failure(url: string): Promise<ConnectError> {
  try {
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'connect.test' });
    await client.end();
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error('it connected');
}

async function session(t: Test, url: string, onLost?: (error: Error) => void): Promise<Client> {
  const client = await connect(parseDatabaseUrl(url), {
    applicationName: 'connect.test',
    statementTimeoutMs: 12_345,
    ...(onLost === undefined ? {} : { onLost }),
  });
  t.teardown(() => client.end().catch(() => {}));
  return client;
}

void test('a server without TLS', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const url = server.url();

  await t.test('sslmode: plaintext where it is allowed, refused where TLS is asked for', async (s) => {
    for (const sslmode of ['disable', 'allow', 'prefer'])
      s.equal(await encrypted(url, { sslmode }), false, sslmode);
    const withoutMode = new URL(url);
    withoutMode.searchParams.delete('sslmode');
    s.equal(await encrypted(withoutMode.href, {}), false, 'prefer is the default');
    const error = await failure(withParameters(url, { sslmode: 'require' }));
    s.match(error, { kind: 'tls', message: /sslmode=require, but the server has no TLS/ });
  });

  await t.test(
    'a wrong password and a missing database are told apart, and no password is shown',
    async (s) => {
      const wrong = new URL(url);
      wrong.password = 'canary-of-a-password';
      const password = await failure(wrong.href);
      s.match(password, { kind: 'password', code: '28P01' });
      const database = await failure(server.url('nowhere'));
      s.match(database, { kind: 'database', code: '3D000' });
      wrong.username = 'canary-of-a-password'; // the server repeats the user's name in its message
      const repeated = await failure(wrong.href);
      for (const error of [password, database, repeated]) {
        s.notMatch(inspect(error, { depth: 9 }), 'canary-of-a-password');
        s.notMatch(inspect(error, { depth: 9 }), new URL(url).password);
      }
      s.equal(connectFailureKind({ code: '28000' }), 'password');
      s.equal(connectFailureKind({ code: '53300' }), 'unreachable');
    },
  );

  await t.test('a database whose encoding cannot hold every text is refused by name', async (s) => {
    const owner = await session(s, url);
    for (const [name, encoding] of [
      ['latin', 'LATIN1'],
      ['cyrillic', 'KOI8R'],
      ['bytes', 'SQL_ASCII'],
    ])
      await owner.query(`CREATE DATABASE ${name} ENCODING '${encoding}' LOCALE 'C' TEMPLATE template0`);
    s.match(await failure(server.url('latin')), {
      kind: 'database',
      message: /LATIN1.*use a database with UTF8/,
    });
    s.match(await failure(server.url('cyrillic')), { kind: 'database', message: /KOI8R/ });
    const bytes = await session(s, server.url('bytes'));
    const text = '\u2603 \u{1f600} \u00e4';
    const { rows } = await bytes.query<{ text: string }>('SELECT $1::text AS text', [text]);
    s.equal(rows[0].text, text);
  });

  await t.test('an absent server and a silent one are unreachable', async (s) => {
    const silent = createServer(() => {});
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    s.teardown(() => silent.close());
    const address = silent.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    for (const sslmode of ['disable', 'require']) {
      const error = await failure(`postgres://u:p@127.0.0.1:${port}/d?connect_timeout=1&sslmode=${sslmode}`);
      s.match(error, { kind: 'unreachable', code: 'ETIMEDOUT' });
    }
    const absent = await failure('postgres://u:p@localhost:1/d');
    s.match(absent, { kind: 'unreachable', code: 'ECONNREFUSED', message: /u@localhost:1\/d/ });
  });

  await t.test('a session has our settings and gives values that lose nothing', async (s) => {
    const client = await session(s, withParameters(url, { options: '-csearch_path=elsewhere' }));
    const { rows } = await client.query(
      `select current_setting('timezone') as timezone, current_setting('statement_timeout') as statement_timeout,
              current_setting('tcp_user_timeout') as tcp_user_timeout, current_setting('search_path') as search_path,
              current_setting('client_connection_check_interval') as check_interval,
              current_setting('application_name') as application_name`,
    );
    s.same(rows, [
      {
        timezone: 'UTC',
        statement_timeout: '12345ms',
        tcp_user_timeout: '20000',
        search_path: 'elsewhere',
        check_interval: '5s',
        application_name: 'connect.test',
      },
    ]);
    const values = await client.query(
      `select 9223372036854775807 as big, '2025-08-23 10:35:03.178361+02'::timestamptz as at,
              array['2025-08-23 10:35:03.178361+02'::timestamptz] as list, date '2025-08-23' as day, 1.5::numeric as n`,
    );
    s.same(values.rows, [
      {
        big: '9223372036854775807',
        at: '2025-08-23 08:35:03.178361+00',
        list: '{"2025-08-23 08:35:03.178361+00"}',
        day: '2025-08-23',
        n: '1.5',
      },
    ]);
  });

  await t.test('a lost session is reported once, an ended one is not', async (s) => {
    const reports: string[] = [];
    const lost = await session(s, url, () => reports.push('lost'));
    const ended = await session(s, url, () => reports.push('ended'));
    const other = await session(s, url);
    const { rows } = await lost.query<{ pid: number }>('select pg_backend_pid() as pid');
    const gone = new Promise<void>((done) => lost.once('end', done));
    await other.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    await gone;
    await ended.end();
    s.same(reports, ['lost']);
  });

  await t.test('a query under way rejects when its session is lost', async (s) => {
    const lost = await session(s, url);
    const other = await session(s, url);
    const { rows } = await lost.query<{ pid: number }>('select pg_backend_pid() as pid');
    const query = lost.query('select pg_sleep(600)').then(
      () => 'answered',
      () => 'rejected',
    );
    await other.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    s.equal(await query, 'rejected');
  });
});

void test(
  'a server with TLS',
  { skip: hasOpenssl ? false : 'no openssl to make certificates with' },
  async (t) => {
    const certificates = await makeCertificates(t);
    const server = await startPostgres();
    t.teardown(() => server.stop());
    await enableTls(server, certificates);
    // the certificate is for localhost
    const local = server.url().replace('127.0.0.1', 'localhost');
    const byAddress = server.url();
    const { ca, otherCa } = certificates;

    await t.test(
      'disable and allow stay in plaintext, prefer and require encrypt without verifying',
      async (s) => {
        s.equal(await encrypted(byAddress, { sslmode: 'disable' }), false);
        s.equal(await encrypted(byAddress, { sslmode: 'allow' }), false);
        s.equal(await encrypted(byAddress, { sslmode: 'prefer' }), true);
        s.equal(await encrypted(byAddress, { sslmode: 'require' }), true);
      },
    );

    await t.test(
      'require with sslrootcert and verify-ca want the authority, verify-full the name as well',
      async (s) => {
        for (const sslmode of ['require', 'verify-ca']) {
          s.equal(await encrypted(byAddress, { sslmode, sslrootcert: ca }), true, `${sslmode} by address`);
          const error = await failure(withParameters(byAddress, { sslmode, sslrootcert: otherCa }));
          s.match(error, { kind: 'tls' }, `${sslmode} with another authority: ${error.message}`);
        }
        s.equal(await encrypted(local, { sslmode: 'verify-full', sslrootcert: ca }), true);
        const name = await failure(withParameters(byAddress, { sslmode: 'verify-full', sslrootcert: ca }));
        s.match(name, { kind: 'tls', code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
        const authority = await failure(
          withParameters(local, { sslmode: 'verify-full', sslrootcert: otherCa }),
        );
        s.match(authority, { kind: 'tls' });
        const system = await failure(
          withParameters(local, { sslmode: 'verify-full', sslrootcert: 'system' }),
        );
        s.match(system, { kind: 'tls' }, 'no public authority signed it');
        const absent = await failure(
          withParameters(local, { sslmode: 'verify-full', sslrootcert: '/nowhere/ca.pem' }),
        );
        s.match(absent, { kind: 'tls', code: 'ENOENT', message: /sslrootcert \/nowhere\/ca\.pem/ });
      },
    );

    await t.test(
      'a server that wants plaintext gets it from prefer, one that wants TLS gets it from allow',
      async (s) => {
        await rewriteAccess(server, 'hostnossl market_data all 127.0.0.1/32 scram-sha-256');
        s.equal(await encrypted(byAddress, { sslmode: 'prefer' }), false);
        s.match(await failure(withParameters(byAddress, { sslmode: 'require' })), {
          kind: 'password',
          code: '28000',
        });
        await rewriteAccess(server, 'hostssl market_data all 127.0.0.1/32 scram-sha-256');
        s.equal(await encrypted(byAddress, { sslmode: 'allow' }), true);
        s.match(await failure(withParameters(byAddress, { sslmode: 'disable' })), {
          kind: 'password',
          code: '28000',
        });
      },
    );

    await t.test(
      'channel_binding=require lets in nobody else, and the handshake may come first',
      async (s) => {
        await rewriteAccess(server, 'host market_data all 127.0.0.1/32 scram-sha-256');
        const bound = { sslmode: 'require', channel_binding: 'require' };
        s.equal(await encrypted(byAddress, bound), true);
        s.equal(await encrypted(byAddress, { ...bound, sslnegotiation: 'direct' }), true);
        const unbound = { kind: 'password', message: /channel_binding=require/ };
        for (const method of ['trust', 'password']) {
          await rewriteAccess(server, `host market_data all 127.0.0.1/32 ${method}`);
          s.match(await failure(withParameters(byAddress, bound)), unbound, method);
        }
      },
    );

    await t.test('a client certificate is sent', async (s) => {
      await rewriteAccess(server, 'hostssl market_data all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca');
      const without = await failure(withParameters(byAddress, { sslmode: 'require' }));
      s.ok(without.kind === 'password' || without.kind === 'tls', without.message);
      const { clientCert, clientKey } = certificates;
      s.equal(
        await encrypted(byAddress, { sslmode: 'require', sslcert: clientCert, sslkey: clientKey }),
        true,
      );
    });
  },
);

void test('several servers: the first that can be reached and is of the wanted kind', async (t) => {
  const [primary, standby] = await Promise.all([startPostgres(), startPostgres()]);
  t.teardown(() => Promise.all([primary.stop(), standby.stop()]));
  await writeAsServer(standby, 'standby.signal', Buffer.from(''));
  await standby.restart('fast');
  const [p, q] = [primary, standby].map((server) => new URL(server.url()).port);
  const passwordFile = join(t.testdir(), 'pgpass');
  const lines = [primary, standby].map((server) => {
    const { port, password } = new URL(server.url());
    return `*:${port}:*:*:${password}\n`;
  });
  await writeFile(passwordFile, lines.join(''), { mode: 0o600 });
  const { username, pathname } = new URL(primary.url());
  const whom = async (ports: string[], parameters: string): Promise<string> => {
    const places = ports.map((port) => `127.0.0.1:${port}`).join(',');
    const url = `postgres://${username}@${places}${pathname}?connect_timeout=5&passfile=${passwordFile}&${parameters}`;
    try {
      const client = await connect(parseDatabaseUrl(url), { applicationName: 'connect.test' });
      const { rows } = await client.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
      await client.end();
      return rows[0]?.standby ? 'standby' : 'primary';
    } catch (error) {
      return error instanceof ConnectError ? error.kind : 'no ConnectError';
    }
  };
  const cases: [string[], string, string][] = [
    [['1', q, p], '', 'standby'],
    [[q, p], 'target_session_attrs=any', 'standby'],
    [['1', q, p], 'target_session_attrs=read-write', 'primary'],
    [[q, p], 'target_session_attrs=primary', 'primary'],
    [[p, q], 'target_session_attrs=read-only', 'standby'],
    [[p, q], 'target_session_attrs=standby', 'standby'],
    [[p, q], 'target_session_attrs=prefer-standby', 'standby'],
    [[p, '1'], 'target_session_attrs=prefer-standby', 'primary'],
    [[q, q], 'target_session_attrs=read-write', 'unreachable'],
    [[p], 'target_session_attrs=standby', 'unreachable'],
    [['1', '2'], '', 'unreachable'],
  ];
  for (const [ports, parameters, expected] of cases)
    t.equal(await whom(ports, parameters), expected, `${ports.join()} ${parameters}`);
  const seen = new Set<string>();
  for (let turn = 0; turn < 60 && seen.size < 2; turn += 1)
    seen.add(await whom([p, q], 'load_balance_hosts=random'));
  t.equal(seen.size, 2, 'load_balance_hosts=random');
});

interface Certificates {
  ca: string;
  otherCa: string;
  serverCert: string;
  serverKey: string;
  clientCert: string;
  clientKey: string;
}

async function makeCertificates(t: Test): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'certificates-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { stdio: 'ignore', cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const name of ['ca', 'other']) {
    openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.pem`),
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
  }
  await writeFile(at('server.ext'), 'subjectAltName=DNS:localhost\n');
  await writeFile(at('client.ext'), 'extendedKeyUsage=clientAuth\n');
  for (const name of ['server', 'client']) {
    const subject = name === 'server' ? '/CN=localhost' : '/CN=postgres';
    openssl('req', ...key, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', subject);
    const issuer = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      at(`${name}.csr`),
      ...issuer,
      '-out',
      at(`${name}.pem`),
      '-days',
      '2',
      '-extfile',
      at(`${name}.ext`),
    );
  }
  return {
    ca: at('ca.pem'),
    otherCa: at('other.pem'),
    serverCert: at('server.pem'),
    serverKey: at('server.key'),
    clientCert: at('client.pem'),
    clientKey: at('client.key'),
  };
}

async function enableTls(server: TestPostgres, certificates: Certificates): Promise<void> {
  await writeAsServer(server, 'server.crt', await readFile(certificates.serverCert));
  await writeAsServer(server, 'server.key', await readFile(certificates.serverKey));
  await writeAsServer(server, 'ca.crt', await readFile(certificates.ca));
  await asAdmin(server, async (client) => {
    await client.query("alter system set ssl_ca_file = 'ca.crt'");
    await client.query('alter system set ssl = on');
  });
  await server.restart('fast');
}

/** Rules for market_data; the start of the server itself looks into the database postgres. */
async function rewriteAccess(server: TestPostgres, rule: string): Promise<void> {
  const hba = `host postgres all 127.0.0.1/32 scram-sha-256\n${rule}\n`;
  await writeAsServer(server, 'pg_hba.conf', Buffer.from(hba));
  await server.restart('immediate'); // a reload gives no sign when it is done
}

async function writeAsServer(server: TestPostgres, name: string, content: Buffer): Promise<void> {
  const data = join(server.dataDir, 'pgdata');
  const { uid, gid } = await stat(data);
  await writeFile(join(data, name), content, { mode: 0o600 });
  await chown(join(data, name), uid, gid);
}

async function asAdmin(server: TestPostgres, work: (client: Client) => Promise<void>): Promise<void> {
  const client = await connect(parseDatabaseUrl(server.url()), { applicationName: 'connect.test' });
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
