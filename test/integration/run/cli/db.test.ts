import { Command, CommanderError } from 'commander';
import { test } from 'tap';
import { registerDb } from '../../../../src/run/cli/db.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { openClient } from '../../../support/chain/content/oracle.ts';
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
      s.match(await mdp(url, 'migrate', '--to', '99'), { code: 1, err: /no schema file 99/ });
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

    await t.test("policies are an operator's: shown with their runs, and left as they are", async (s) => {
      const url = await open.createDatabase({ schema: false });
      await mdp(url, 'migrate');
      const client = await openClient(url);
      s.teardown(() => client.end());
      if (!isTimescale) return;
      const now =
        'SELECT integer_now_func AS now FROM timescaledb_information.dimensions WHERE integer_now_func IS NOT NULL';
      s.strictSame((await client.query(now)).rows, [{ now: 'ingest_newest_tick' }]);
      if ((await detectEdition(client)).edition !== 'community') return;
      const ofTickData = async (): Promise<string[]> =>
        (await mdp(url, 'status')).out.split('\n').filter((line) => /^policy {3}tick_data/.test(line));
      s.match(await ofTickData(), [/compression \(job \d+\): compress_after 7 days, every 12:00:00, /]);

      await client.query("SELECT remove_compression_policy('tick_data')");
      await client.query("ALTER TABLE tick_data SET (timescaledb.compress_segmentby = 'provider')");
      const again = await mdp(url, 'migrate', '--again');
      s.equal(again.code, 0, again.err);
      await mdp(url, 'hypertables');
      s.strictSame(await ofTickData(), [], 'it does not come back');
      const segmentBy = await client.query<{ segmentby: string }>(
        "SELECT segmentby FROM timescaledb_information.hypertable_compression_settings WHERE hypertable = 'tick_data'::regclass",
      );
      s.strictSame(segmentBy.rows, [{ segmentby: 'provider' }]);
      await client.query('ALTER TABLE tick_data SET (timescaledb.compress = false)');
      await mdp(url, 'migrate', '--again');
      s.match(JSON.parse((await mdp(url, 'status', '--json')).out), { policies: [] });

      // a policy counts from the newest tick that is recorded
      await client.query("SELECT set_chunk_time_interval('vdf_proofs', 100)");
      await client.query(
        "INSERT INTO vdf_proofs SELECT n, '', '', '', 0 FROM generate_series(0, 999) n; INSERT INTO ingest_ledger VALUES (0, 999, 1, 1000, 0)",
      );
      const { rows: jobs } = await client.query<{ job: number }>(
        "SELECT add_retention_policy('vdf_proofs', 500::bigint, initial_start => now() + interval '1 day') AS job",
      );
      s.match(
        (await mdp(url, 'status')).out,
        /vdf_proofs {2}retention \(job \d+\): drop_after 500, .*HAS NEVER RUN; next 2/,
      );
      await client.query(`CALL run_job(${jobs[0].job})`);
      const { rows } = await client.query('SELECT min(tick_number)::int AS n FROM vdf_proofs');
      s.strictSame(rows, [{ n: 400 }]);
      await client.query(`SELECT alter_job(${jobs[0].job}, scheduled => false)`);
      s.match((await mdp(url, 'status')).out, /drop_after 500, every .*, PAUSED\n/);
      await client.query(
        "ALTER TABLE vdf_proofs SET (timescaledb.compress); SELECT compress_chunk(c) FROM show_chunks('vdf_proofs', older_than => 600) c",
      );
      s.match((await mdp(url, 'status')).out, /vdf_proofs {2}hypertable .* chunks: 6, compressed: 2\n/);
    });

    const wrong = new URL(await open.createDatabase({ schema: false }));
    wrong.password = 'canary-of-a-password';
    const isRefused = await connect(parseDatabaseUrl(wrong.href), { applicationName: 'db.test' }).then(
      async (client) => {
        await client.end();
        return false;
      },
      () => true,
    );
    const skip = isRefused ? false : 'this server asks for no password (trust)';
    await t.test('a wrong password is told in one line without it', { skip }, async (s) => {
      const { code, err } = await mdp(wrong.href, 'status');
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
