import { test } from 'tap';
import { systemClock } from '../../../../../src/core/time.ts';
import { registerDlq } from '../../../../../src/run/cli/dlq/dlq.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';
import { sharedPostgres } from '../../../../support/servers/postgres.ts';
import { withClient } from '../../../../support/bus/postgres-bus.ts';

void test('mdp dlq discard resolves conflicts of the chain, and nothing that stands in the place of a tick', async (t) => {
  const server = await sharedPostgres();
  t.after(() => server.stop());
  const url = await server.createDatabase();
  const env = { databaseUrl: url, tickBytesMax: () => 4 * 2 ** 20, clock: systemClock };
  const dlq = (...args: string[]): Promise<Outcome> =>
    runInProcess((program) => registerDlq(program, env), 'dlq', ...args);
  const ids = await withClient(url, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256)
       SELECT n, CASE WHEN n < 4 THEN 'conflict' ELSE 'too_large' END, n::text::bytea, sha256(n::text::bytea)
         FROM generate_series(1, 4) n RETURNING dead_letter_id AS id`,
    );
    return rows.map(({ id }) => id);
  });
  const [first = '', , , large = ''] = ids;

  t.match(await dlq('discard', first), {
    code: 0,
    out: `${first}  discarded: another tick 1 is stored and stays\n`,
  });
  t.match(await dlq('discard', first), { code: 0, out: /resolved before, at 2/ });
  const refused = await dlq('discard', large, '999');
  t.match(refused, { code: 1, err: /2 of 2 not discarded/ });
  t.match(
    refused.out,
    new RegExp(`^${large} {2}too_large: stands in the place of a tick.*\n999 {2}there is no`),
  );
  const all = await dlq('discard', '--all', '--json');
  t.equal(all.code, 0, all.err);
  t.strictSame(
    all.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
    ids.slice(1, 3).map((id) => ({ id: Number(id), outcome: 'discarded', done: true })),
  );
  t.match(await dlq('discard', '--reason', 'conflict'), { code: 0, out: /nothing to do/ });
  t.match(await dlq('discard', '--reason', 'too_large'), { code: 2, err: /only dead letters "conflict"/ });
  t.match(await dlq('list'), { code: 0, out: /1 open dead letter\n$/ });
  t.match(await dlq('list', '--status', 'resolved'), { code: 0, out: /3 resolved dead letters\n$/ });
  for (const args of [[], ['1', '--all'], ['1', 'mdp.events|1']]) {
    t.equal((await dlq('discard', ...args)).code, 2, args.join(' '));
  }
});
