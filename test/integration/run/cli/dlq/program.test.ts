import assert from 'node:assert/strict';
import { test } from 'tap';
import { testServers } from '../../../../support/servers/postgres.ts';
import { runMdp } from './program.ts';
import { insertUnnumbered, openStore } from './store.ts';

void test('mdp dlq as a program', async (t) => {
  const [server] = testServers();
  assert.ok(server !== undefined);
  const open = await server.open();
  t.teardown(() => open.close());
  const store = await openStore(t, open);
  const noise = Buffer.from(Array.from({ length: 512 }, (_, at) => at % 256));
  const id = await insertUnnumbered(store.client, noise, 8);

  await t.test('--raw - writes the bytes and nothing else', async (s) => {
    const { code, bytes, err } = await runMdp(store.url, 'dlq', 'show', id, '--raw', '-');
    s.same({ code, err }, { code: 0, err: '' });
    s.ok(bytes.equals(noise));
  });

  await t.test('a mistake in the command line is 2, a failure 1', async (s) => {
    const mistakes = [
      ['dlq'],
      ['dlq', 'bury'],
      ['dlq', 'list', '--status', 'lost'],
      ['dlq', 'list', '--from', '-1'],
      ['dlq', 'list', '--limit', '1.5'],
      ['dlq', 'show'],
      ['dlq', 'show', 'first'],
      ['dlq', 'show', id, '--raw', '-', '--json'],
      ['dlq', 'retry'],
      ['dlq', 'retry', id, '--all'],
      ['dlq', 'retry', '--all', '--reason', 'conflict'],
      ['dlq', 'retry', '9223372036854775808'],
    ];
    for (const args of mistakes) s.equal((await runMdp(store.url, ...args)).code, 2, args.join(' '));
    s.match(await runMdp('', 'dlq', 'list'), {
      code: 1,
      out: '',
      err: /^mdp dlq list: no database: set DATABASE_URL/,
    });
    const empty = await open.createDatabase({ schema: false });
    s.match(await runMdp(empty, 'dlq', 'list'), { code: 1, err: /Run first: mdp db migrate\n$/ });
    s.match(await runMdp(store.url, 'dlq', 'retry', id), { code: 1, err: /1 of 1 not resolved/ });
  });

  await t.test('each help names options, defaults and an example', async (s) => {
    for (const name of ['list', 'show', 'retry']) {
      const { code, out } = await runMdp(store.url, 'dlq', name, '--help');
      s.equal(code, 0);
      s.match(out, /default:/);
      s.match(out, /Example:\n {2}\$ .*mdp dlq/);
      s.match(out, /Exit codes: 0 .* 1 .* 2 /);
      s.match(out, /DATABASE_URL/);
    }
  });
});
