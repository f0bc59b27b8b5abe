import { Command, CommanderError } from 'commander';
import { test } from 'tap';
import { registerDb } from '../../../../src/run/cli/db.ts';
import { testServers } from '../../../support/servers/postgres.ts';

interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** `mdp db …` in this process. */
async function mdp(databaseUrl: string | undefined, ...args: string[]): Promise<Outcome> {
  const outcome: Outcome = { code: 0, out: '', err: '' };
  const program = new Command('mdp').exitOverride().configureOutput({
    writeOut: (text) => (outcome.out += text),
    writeErr: (text) => (outcome.err += text),
  });
  registerDb(program, { databaseUrl });
  try {
    await program.parseAsync(['db', ...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    outcome.code = error.exitCode;
  }
  return outcome;
}

for (const server of testServers()) {
  void test(`mdp db on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());
    const isTimescale = server.name === 'timescale';

    await t.test('status, migrate, status', async (s) => {
      const url = await open.createDatabase({ schema: false });
      const behind = await mdp(url, 'status', '--check');
      s.match(behind, {
        code: 1,
        out: /001_create_tables\.sql {2}PENDING/,
        err: /^mdp db status: schema is behind .* mdp db migrate\n$/,
      });
      s.match(await mdp(url, 'migrate'), { code: 0, out: /^applied 001_create_tables\.sql$/m, err: '' });
      s.match(await mdp(url, 'migrate'), { code: 0, out: /nothing to do/ });
      s.match(await mdp(url, 'migrate', '--to', '9'), { code: 1, err: /no schema file 9/ });
      s.match(await mdp(url, 'status', '--check'), { code: 0, out: /001_create_tables\.sql {2}applied/ });
      const json = JSON.parse((await mdp(url, 'status', '--json')).out) as Record<string, unknown>;
      s.match(json, { applied: ['001_create_tables.sql'], pending: [], unknown: [] });
      s.equal(json['edition'] !== 'plain', isTimescale);
    });

    await t.test('hypertables says what it did, or what is missing', async (s) => {
      const url = await open.createDatabase();
      const made = await mdp(url, 'hypertables');
      if (isTimescale) s.match(made, { code: 0, out: /ticks: is a hypertable already/ });
      else s.match(made, { code: 1, err: /shared_preload_libraries/ });
      const empty = await open.createDatabase({ schema: false });
      s.match(await mdp(empty, 'hypertables'), { code: 1, err: /Run first: mdp db migrate/ });
    });

    await t.test('a wrong password is told in one line without it', async (s) => {
      const url = new URL(await open.createDatabase({ schema: false }));
      url.password = 'canary-of-a-password';
      const { code, err } = await mdp(url.href, 'status');
      s.equal(code, 1);
      s.match(err, /^mdp db status: Failed to connect to database: .*28P01.*Check user and password.*\n$/);
      s.notMatch(err, 'canary-of-a-password');
    });
  });
}

void test('without a database each command says which variable to set', async (t) => {
  for (const name of ['migrate', 'status', 'hypertables']) {
    t.match(await mdp(undefined, name), { code: 1, err: /set DATABASE_URL/ });
  }
});

void test('each help names options, defaults and an example', async (t) => {
  for (const name of ['migrate', 'status', 'hypertables']) {
    const { code, out } = await mdp(undefined, name, '--help');
    t.equal(code, 0);
    t.match(out, /default:/);
    t.match(out, /Example:\n {2}\$ .*mdp db/);
    t.match(out, /DATABASE_URL/);
  }
});
