import { createHash } from 'node:crypto';
import { test } from 'tap';
import { registerTokens } from '../../../../../src/run/cli/tokens/tokens.ts';
import { migrateAll, withClient } from '../../../../support/bus/postgres-bus.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';

void test('mdp tokens', async (t) => {
  const server = await sharedPostgres();
  t.teardown(() => server.stop());
  const databaseUrl = await server.createDatabase(undefined, { schema: false });
  await migrateAll(databaseUrl);
  const mdp = (...args: string[]): Promise<Outcome> =>
    runInProcess((program) => registerTokens(program, { databaseUrl }), 'tokens', ...args);

  const made = await mdp('create', 'feeder', '--scope', 'ingest,read', '--expires', '90d');
  t.equal(made.code, 0, made.err);
  t.match(made.out, /^mdp_[A-Za-z0-9_-]{43}\n$/, '256 random bits, and nothing else on stdout');
  const token = made.out.trim();

  await t.test('the database has its hash alone', async (s) => {
    const rows = await withClient(databaseUrl, async (client) => {
      const result = await client.query<{ hash: Buffer; row: string }>(
        'SELECT hash, a::text AS row FROM api_tokens a',
      );
      return result.rows;
    });
    s.strictSame(rows[0]?.hash, createHash('sha256').update(token).digest());
    s.notOk(rows[0]?.row.includes(token.slice(4)));
  });

  await t.test('the list shows no token', async (s) => {
    const { out } = await mdp('list');
    s.match(out, /feeder +read,ingest +valid +\S+ +\S+ +never/);
    s.notOk(out.includes(token));
    const json = JSON.parse((await mdp('list', '--json')).out) as Record<string, unknown>;
    s.match(json, { name: 'feeder', scopes: ['read', 'ingest'], state: 'valid' });
  });

  await t.test('rotation: a second of the name, then no third until one is revoked', async (s) => {
    const second = await mdp('create', 'feeder', '--scope', 'ingest', '--json');
    const { id, token: other } = JSON.parse(second.out) as { id: number; token: string };
    s.not(other, token);
    const third = await mdp('create', 'feeder', '--scope', 'ingest');
    s.equal(third.code, 1);
    s.match(third.err, /has two valid tokens.*mdp tokens revoke \d+/);
    const unclear = await mdp('revoke', 'feeder');
    s.equal(unclear.code, 1);
    s.match(unclear.err, /2 valid tokens: name one by its id/);
    s.match(await mdp('revoke', String(id)), { code: 0, out: `revoked ${id} (feeder)\n` });
    s.equal((await mdp('create', 'feeder', '--scope', 'ingest')).code, 0);
    s.match(await mdp('revoke', 'feeder', '--all'), { code: 0 });
    s.match(await mdp('revoke', 'feeder'), { code: 1, err: /no valid token is called feeder/ });
  });

  await t.test('mistakes in the command line', async (s) => {
    for (const args of [
      ['create', 'x'],
      ['create', 'x', '--scope', 'everything'],
      ['create', 'x', '--scope', ''],
      ['create', 'x y', '--scope', 'read'],
      ['create', '17', '--scope', 'read'],
      ['create', 'API_TOKEN', '--scope', 'read'],
      ['create', 'x', '--scope', 'read', '--expires', 'soon'],
    ])
      s.equal((await mdp(...args)).code, 2, args.join(' '));
  });
});
