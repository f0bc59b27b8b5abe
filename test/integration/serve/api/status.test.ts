import type { GroupMember } from '../../../../src/bus/bus.ts';
import { createClient } from '../../../../src/client/exports.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { migrate, schemaFiles } from '../../../../src/store/schema/migrate.ts';
import { CONTENT } from '../../../support/api/content.ts';
import { busIn, serveQueries } from '../../../support/api/query-server.ts';
import { runCommand } from '../../../support/run/command.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';

testOnServers('GET /v1/status', async (t, server) => {
  const url = await server.createDatabase({ schema: false });
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.after(() => client.end());
  await migrate(client);
  for (const sql of CONTENT) await client.query(sql);
  await client.query(
    `UPDATE ingest_state SET holder = 'h', epoch = 3, holder_since = now(), lease_expires_at = now() + interval '1 hour',
       halt = 'poison', halt_reason = 'too many', halted_at = now()`,
  );
  await client.query(
    `UPDATE ingest_gaps SET attempts = 2, last_error = 'e "', next_attempt_at = now() WHERE state = 'open'`,
  );

  await t.test('the chain is as tick-ingester status says', async (t) => {
    const api = await serveQueries(t, url);
    const { code, stdout, stderr } = await runCommand('tick-ingester', ['status', '--json'], {
      DATABASE_URL: url,
      CONTINUUM_GRPC_URL: '127.0.0.1:1',
    });
    t.equal(code, 0, stderr);
    const { head, lag_ticks, clock_ahead_seconds, open_gaps, ...said } = JSON.parse(stdout) as Record<
      string,
      unknown
    >;
    void [head, lag_ticks, clock_ahead_seconds];
    const item = (await api.json('/v1/status')) as Record<string, unknown>;
    for (const [name, value] of Object.entries(said)) t.strictSame(item[name], value, name);
    const [gap] = open_gaps as { first: string; last: string; lastError: string }[];
    t.match(item['open_gaps'], [
      { first: gap.first, last: gap.last, attempts: 2, last_error: gap.lastError },
    ]);
    t.strictSame(item['schema'], {
      applied: (await schemaFiles()).map(({ name }) => name),
      behind: [],
      unknown: [],
    });
    t.strictSame(
      Object.keys(item)
        .filter((name) => !(name in said))
        .sort(),
      ['bus', 'bus_error', 'now', 'open_gaps', 'schema'],
    );
  });

  await t.test('groups of the bus, as the bus says', async (t) => {
    const bus = busIn(url);
    const record = { key: 'A', eventId: null, data: Buffer.from('{}'), encoding: 'json' } as const;
    await bus.publish('mdp.events', [record, record, record]);
    const member: GroupMember = await bus.join({ topic: 'mdp.events', group: 'g', member: 'm' });
    t.after(async () => {
      await member.leave();
      await bus.close();
    });
    await member.acknowledge(await member.next(1, 10_000));
    await member.next(1, 10_000);
    const api = await serveQueries(t, url, { topics: ['mdp.events', 'mdp.signals'] });
    const status = await createClient({ url: api.url }).status();
    t.strictSame(status.bus?.topics, ['mdp.events', 'mdp.signals']);
    t.match(status.bus?.groups, [
      { topic: 'mdp.events', group: 'g', partition: 0, members: 1, pending: 1, lag: 1, acknowledged: '0' },
    ]);
    t.match(status, {
      position: 9n,
      complete_up_to: 5n,
      leader: { epoch: 3n, live: true },
      halt: { kind: 'poison' },
      bus_error: null,
    });
  });

  await t.test('files that are not applied are named', async (t) => {
    const api = await serveQueries(t, url);
    await client.query(`DELETE FROM schema_migrations WHERE name LIKE '008%'`);
    await client.query(`INSERT INTO schema_migrations (name) VALUES ('999_later.sql')`);
    t.match(await api.json('/v1/status'), { schema: { behind: [/^008_/], unknown: ['999_later.sql'] } });
  });

  await t.test('without the bus it is answered, without the database it is not', async (t) => {
    const nowhere = busIn('postgres://nobody@127.0.0.1:1/none');
    t.after(() => nowhere.close());
    const api = await serveQueries(t, url, { bus: nowhere, topics: ['mdp.events'] });
    t.match(await api.json('/v1/status'), {
      bus: null,
      bus_error: /^(unreachable|timeout)$/,
      chain_id: String,
    });
    const none = await serveQueries(t, 'postgres://nobody@127.0.0.1:1/none');
    const answer = await none.get('/v1/status');
    t.equal(answer.status, 503);
    t.match(await answer.json(), { error: { code: 'unavailable' } });
  });
});
