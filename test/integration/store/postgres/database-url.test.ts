import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { escapeLiteral } from 'pg';
import { test } from 'tap';
import { connect } from '../../../../src/store/postgres/connect.ts';
import { completeDatabaseUrl } from '../../../../src/store/postgres/conninfo/environment.ts';
import { parseDatabaseUrl } from '../../../../src/store/postgres/database-url.ts';
import { findPsql, startPostgres } from '../../../support/servers/postgres.ts';

const run = promisify(execFile);

/** Only of these characters must a password escape some. */
const PASSWORDS = [
  'a#b',
  'a?b=c&d',
  'a:b',
  'a%b',
  'a@b',
  'a/b',
  '#?:&=%@/',
  'a+b;c!$*()[],',
  'ä€',
  "it's",
  '%41',
];
const mustEscape = (password: string): string => password.replace(/[@/%]/g, encodeURIComponent);

/** What the server says of who asked and how it asked; null: not let in, or refused before. */
type Answer = string | null;

const ASKED = `SELECT current_user || ' ' || current_database() || ' ' || current_setting('application_name')`;

type Environment = Readonly<Record<string, string>>;

async function askedHere(url: string, env: Environment = {}): Promise<Answer> {
  try {
    const completed = completeDatabaseUrl(url, (name) => env[name] ?? null);
    const client = await connect(parseDatabaseUrl(completed), { applicationName: 'psql' });
    try {
      const { rows } = await client.query<{ said: string }>(`${ASKED} AS said`);
      return rows[0].said;
    } finally {
      await client.end();
    }
  } catch {
    return null;
  }
}

async function askedByPsql(psql: string, url: string, env: Environment = {}): Promise<Answer> {
  try {
    const { stdout } = await run(psql, [url, '-XAtw', '-c', ASKED], {
      env: { PATH: process.env['PATH'], PGCLIENTENCODING: 'UTF8', PGCONNECT_TIMEOUT: '5', ...env },
    });
    return stdout.trim();
  } catch {
    return null;
  }
}

const psql = findPsql();

void test(
  'a URL means here what it means in psql',
  { skip: psql === null ? 'no psql' : false },
  async (t) => {
    const server = await startPostgres();
    t.teardown(() => server.stop());
    const admin = parseDatabaseUrl(await server.createDatabase('odd#db', { schema: false }));
    const client = await connect(admin, { applicationName: 'test' });
    for (const [index, password] of PASSWORDS.entries())
      await client.query(`CREATE ROLE "role?${index}" LOGIN PASSWORD ${escapeLiteral(password)}`);
    await client.end();
    const [{ host, port }] = admin.places;
    const at = `${host}:${port}`;

    for (const [index, password] of PASSWORDS.entries()) {
      const role = `role?${index}`;
      const said = `${role} odd#db psql`;
      const urls = [
        `postgres://${role}:${mustEscape(password)}@${at}/odd#db`,
        `postgresql://${encodeURIComponent(role)}:${encodeURIComponent(password)}@${at}/odd%23db?sslmode=disable`,
        `postgres:///?host=${host}&port=${port}&user=${role}&dbname=odd#db&password=${encodeURIComponent(password)}`,
      ];
      for (const url of urls) {
        t.equal(await askedHere(url), said, url);
        t.equal(await askedByPsql(psql ?? '', url), said, `psql ${url}`);
      }
    }

    const me = `role?0:a#b@${at}`;
    const strange = [
      `postgres://${me}/odd#db?application_name=x%20y`,
      `postgres://${me}/odd#db?sslmode=prefer&connect_timeout=5`,
      `postgres://${me}/odd#db?sslmode=maybe`,
      `postgres://${me}/odd#db?sslmode=require`,
      `postgres://${me}/odd#db?nonsense=1`,
      `postgres://${me}/odd#db?ssl=false`,
      `postgres://${me}/odd%23d%zz`,
      `postgres://${me}/odd%23db%00`,
      `postgres://role?0:a#b@[${host}]:${port}/odd#db`,
      `postgres://role?0:a%23c@${at}/odd#db`,
      `postgres://role?0:a#@b@${at}/odd#db`,
      `postgres://role?0:a#/b@${at}/odd#db`,
      `postgres://role?0:a#b@${host}:x/odd#db`,
      `Postgres://${me}/odd#db`,
    ];
    for (const url of strange) t.equal(await askedHere(url), await askedByPsql(psql ?? '', url), url);

    const passwordFile = join(t.testdir(), 'pgpass');
    await writeFile(passwordFile, `*:${port}:odd#db:role?0:wrong\n${host}:*:*:role?0:a#b\n`, {
      mode: 0o600,
    });
    const named = { PGHOST: host, PGPORT: String(port), PGUSER: 'role?0', PGDATABASE: 'odd#db' };
    const all = { ...named, PGPASSWORD: 'a#b' };
    const environments: [string, Environment][] = [
      ['postgres://', all],
      ['postgres://', named],
      ['postgres://', { ...all, PGPASSWORD: 'wrong' }],
      ['postgres://', { ...named, PGPASSFILE: passwordFile }],
      [`postgres://?passfile=${passwordFile}`, named],
      [`postgres://${me}`, { PGDATABASE: 'odd#db' }],
      [`postgres://${me}/odd#db`, { ...all, PGPASSWORD: 'wrong', PGUSER: 'nobody', PGPORT: '1' }],
      [`postgres://${me}/odd#db`, { PGAPPNAME: 'x y' }],
      [`postgres://${me}/odd#db`, { PGSSLMODE: 'require' }],
      [`postgres://${me}/odd#db`, { PGSSLMODE: 'maybe' }],
      [`postgres://${me}/odd#db?sslmode=disable`, { PGSSLMODE: 'require' }],
      [`postgres://${me}/odd#db?ssl=true`, {}],
      [`postgres://${me}/odd#db`, { PGCHANNELBINDING: 'require' }],
      [`postgres://${me}/odd#db`, { PGCHANNELBINDING: 'prefer' }],
      [`postgres://${me}/odd#db`, { PGOPTIONS: '-capplication_name=by-options' }],
      [`postgres://${me}/odd#db`, { PGTARGETSESSIONATTRS: 'standby' }],
      [`postgres://${me}/odd#db`, { PGTARGETSESSIONATTRS: 'prefer-standby' }],
      [`postgres://${me}/odd#db`, { PGHOSTADDR: '127.0.0.1', PGLOADBALANCEHOSTS: 'random' }],
      // of several hosts, the first one that can be reached
      [`postgres://role?0:a#b@127.0.0.1:1,${at}/odd#db`, {}],
      [`postgres://role?0:a#b@/odd#db?host=127.0.0.1,${host}&port=1,${port}`, {}],
      [`postgres://role?0:wrong@${at},${at}/odd#db`, {}],
      [
        `postgres://role?0:a#b@nowhere.invalid,elsewhere.invalid/odd#db?hostaddr=127.0.0.1,${host}&port=1,${port}`,
        {},
      ],
    ];
    for (const [url, env] of environments) {
      const about = `${url} ${JSON.stringify(env)}`;
      t.equal(await askedHere(url, env), await askedByPsql(psql ?? '', url, env), about);
    }
    t.equal(await askedHere('postgres://', all), 'role?0 odd#db psql');
    t.equal(
      await askedHere('postgres://', { ...named, PGPASSFILE: passwordFile }),
      null,
      'the first line counts',
    );
  },
);
