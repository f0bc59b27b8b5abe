import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import type { Outcome } from '../../../../../support/run/command-in-process.ts';
import { openClient } from '../../../../../support/chain/content/oracle.ts';
import { schemaSql, startPostgres } from '../../../../../support/servers/postgres.ts';
import { storeChain } from './store.ts';

void test('mdp quality as a program', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const PROGRAM = fileURLToPath(new URL('../../../../../../src/run/mdp.ts', import.meta.url));
  const run = async (env: Record<string, string>, ...args: string[]): Promise<Outcome> => {
    const child = spawn(process.execPath, [PROGRAM, 'quality', ...args], { env: { ...process.env, ...env } });
    const outcome = { code: -1, out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (outcome.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (outcome.err += chunk.toString()));
    outcome.code = await new Promise<number>((resolve) => {
      child.on('close', (code) => resolve(code ?? -1));
    });
    return outcome;
  };
  const filled = await server.createDatabase();
  const client = await openClient(filled);
  await storeChain(client);
  await client.end();
  const empty = await server.createDatabase();

  await t.test('READ_DATABASE_URL is preferred; an embedded server will do', async (s) => {
    s.match(await run({ DATABASE_URL: empty, READ_DATABASE_URL: filled }), {
      code: 0,
      out: /good: no problem found/,
      err: '',
    });
    s.match(await run({ DATABASE_URL: filled, READ_DATABASE_URL: '' }, '--json'), {
      code: 0,
      out: /^\{"ok":true,/,
    });
    const inside = await openClient(server.url());
    await inside.query(await schemaSql());
    await storeChain(inside, { 1111: 'open' });
    await inside.end();
    s.match(await run({ DATABASE_URL: `embedded:${server.dataDir}`, READ_DATABASE_URL: '' }), {
      code: 1,
      out: /missing: open gap +1 {2}PROBLEM {2}1111\n/,
      err: 'mdp quality: found missing.open_gap\n',
    });
  });

  await t.test('a store that holds nothing of the range is a failure', async (s) => {
    const env = { DATABASE_URL: empty, READ_DATABASE_URL: '' };
    s.match(await run(env), {
      code: 1,
      out: '',
      err: /^mdp quality: nothing was ever ingested here\. .*\n$/,
    });
    s.match(await run({ ...env, DATABASE_URL: filled }, '--from', '1400'), {
      code: 1,
      out: '',
      err: /^mdp quality: nothing lies between the bounds: ticks 1000 to 1399 are recorded\. .*\n$/,
    });
    s.match(await run({ DATABASE_URL: '', READ_DATABASE_URL: '' }), { code: 1, err: /set DATABASE_URL/ });
  });

  await t.test('a mistake in the command line is 2', async (s) => {
    const env = { DATABASE_URL: filled };
    const mistakes = [
      ['--from', 'yesterday'],
      ['--from', '2025-02-30'],
      ['--from', '1969-12-31'],
      ['--from', '-5'],
      ['--to', '9223372036854775808'],
      ['--from', '20', '--to', '10'],
      ['--from', '2025-08-24', '--to', '2025-08-23'],
      ['--hashes'],
      ['everything'],
    ];
    for (const args of mistakes) s.match(await run(env, ...args), { code: 2, out: '' }, args.join(' '));
  });

  await t.test('the help says what is a problem and what is not', async (s) => {
    const { code, out } = await run({}, '--help');
    s.equal(code, 0);
    s.match(out, /default:/);
    s.match(out, /Example.*:\n {2}\$ mdp quality/);
    s.match(out, /Problems \(exit code 1\): [^]*Information \(exit code 0\): [^]*Exit codes: 0 .* 1 .* 2 /);
  });
});
