import { test } from 'tap';
import { systemClock } from '../../../../src/core/time.ts';
import { BatchWriter } from '../../../../src/ingest/writer/batch-writer.ts';
import type { DatabaseTrouble } from '../../../../src/ingest/writer/trouble.ts';
import type { BatchWrite } from '../../../../src/store/chain/batch.ts';
import { renewLease, tryLease } from '../../../../src/store/chain/lease.ts';
import { ledgerCovers } from '../../../../src/store/chain/ledger.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { startPostgres } from '../../../support/servers/postgres.ts';
import { until } from '../../../support/until.ts';

const HOLDER = 'the daemon';
const none = new Uint8Array(0);

/** One tick that is a dead letter. */
const batchOf = (epoch: bigint, tick: bigint): BatchWrite => ({
  epoch,
  range: { first: tick, last: tick },
  ticks: 0,
  transactions: 0,
  present: { ticks: 0, transactions: 0 },
  gaps: [],
  fills: false,
  deadLetters: [
    {
      tickNumber: tick,
      afterTick: null,
      reason: 'bad_hex',
      detail: '',
      sqlstate: null,
      storedSha256: null,
      raw: none,
    },
  ],
  alarms: [],
  checkLinks: false,
  copy: { ticks: none, proofs: none, transactions: none },
});

void test('a COMMIT that waits for a synchronous standby is left alone, and nothing counts before it answers', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const url = await server.createDatabase();
  const open = (onLost: (error: Error) => void = () => {}) =>
    connect(parseDatabaseUrl(url), { applicationName: 'test', onLost });
  const client = await open();
  t.teardown(() => client.end());
  const lease = await tryLease(client, 'continuum', HOLDER);
  if (lease.kind !== 'leader') return t.fail(lease.kind);
  const standby = async (change: string, names: string): Promise<void> => {
    await client.query(`ALTER SYSTEM ${change}`);
    await client.query('SELECT pg_reload_conf()');
    await until('the server has read it', async () => {
      const { rows } = await client.query<{ names: string }>('SHOW synchronous_standby_names');
      return Object.values(rows[0])[0] === names;
    });
  };

  const troubles: (DatabaseTrouble | null)[] = [];
  const writer = new BatchWriter(
    {
      backoff: { firstMs: 1, maxMs: 20 },
      answerMs: 200,
      lifetimeMs: Infinity,
      idleMs: null,
      asynchronousCommit: false,
    },
    { log: () => {}, clock: systemClock, random: Math.random },
    {
      connect: open,
      database: (trouble) => troubles.push(trouble),
      retried: () => {},
      lost: () => {},
      backend: () => {},
    },
  );
  const attempt = { unknown: false, orphans: [], isDivisible: false };
  t.match(await writer.write(batchOf(lease.epoch, 1n), attempt), { kind: 'committed', resolved: false });

  await standby("SET synchronous_standby_names = 'berlin'", 'berlin');
  let outcome: unknown = null;
  const writing = writer.write(batchOf(lease.epoch, 2n), attempt).then((done) => (outcome = done));
  await until('the writer says what it waits for', () => troubles.some((one) => one?.kind === 'standby'));
  t.match(troubles.at(-1), { kind: 'standby', error: /synchronous_standby_names = 'berlin'/ });
  t.equal(outcome, null);
  t.equal(await ledgerCovers(client, { first: 2n, last: 2n }), false);

  t.match(await renewLease(client, HOLDER, lease.epoch), { held: true }, 'the lease is kept meanwhile');
  await client.query(
    "UPDATE ingest_state SET lease_expires_at = '-infinity'; SET LOCAL synchronous_commit = local",
  );
  const takeover = tryLease(client, 'continuum', 'another');
  await t.rejects(takeover, { message: /synchronous_standby_names = 'berlin'/ }, 'a takeover waits as well');
  t.equal(await ledgerCovers(client, { first: 2n, last: 2n }), false);

  await standby('RESET synchronous_standby_names', '');
  await writing;
  t.match(outcome, { kind: 'committed', resolved: true });
  t.equal(troubles.at(-1), null);
  t.equal(await ledgerCovers(client, { first: 2n, last: 2n }), true);
  await writer.stop();
});
