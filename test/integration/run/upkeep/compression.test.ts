import { systemClock } from '../../../../src/core/time.ts';
import { compressionRounds } from '../../../../src/run/upkeep/compression.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { detectEdition } from '../../../../src/store/postgres/server-info.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';

const DAY_MS = 86_400_000;

testOnServers('rounds of compression', async (t, server) => {
  const url = await server.createDatabase({ schema: false });
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
  t.teardown(() => client.end());
  const told: { level: string; message: string; fields: object }[] = [];
  const rounds = compressionRounds(
    { chainMs: 7 * DAY_MS, barsMs: 7 * DAY_MS, reviseHorizonMs: DAY_MS },
    {
      connect: () => connect(parseDatabaseUrl(url), { applicationName: 'test compression' }),
      env: {
        log: (level, message, fields) => void told.push({ level, message, fields }),
        clock: systemClock,
        random: Math.random,
      },
      intervalMs: 50,
      failed: () => t.fail('a round failed'),
    },
  );
  t.equal(await rounds.round(), 'not ready', 'it waits for its schema');
  await migrate(client);
  await client.query(
    `INSERT INTO bars_history (provider, symbol, "interval", ts, revision, open, high, low, close, volume, tick_count, first_ts, last_ts, is_final, created_at, updated_at)
     SELECT 'p', 'S', '1m', t, 0, 1, 2, 1, 2, 10, 5, t, t, true, t, t
       FROM generate_series(now() - interval '60 days', now(), interval '1 hour') t`,
  );
  const { edition } = await detectEdition(client);
  t.equal(await rounds.round(), 'done');
  t.equal(await rounds.round(), 'done');
  const { rows: runs } = await client.query('SELECT job_name, status, metadata FROM job_runs');
  if (edition !== 'community') {
    t.match(told, [{ level: 'warn', message: /^Nothing is compressed: .* community edition/ }]);
    t.strictSame(runs, []);
    return;
  }
  const compressed = [{ table: 'bars_history', chunks: /^[78]$/ }];
  t.match(told, [{ level: 'info', message: 'Compression compressed what is old', fields: { compressed } }]);
  t.equal(told.length, 1, 'a round that does nothing says nothing');
  t.match(runs, [{ job_name: 'compression', status: 'success', metadata: { compressed } }]);
});
