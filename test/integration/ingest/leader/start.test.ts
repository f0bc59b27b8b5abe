import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'tap';
import { startDaemon } from '../../../support/chain/daemon.ts';
import { freePort } from '../../../support/servers/free-port.ts';
import { chainSpec } from '../../../support/chain/content/expected.ts';
import { openClient } from '../../../support/chain/content/oracle.ts';
import { schemaSql, startPostgres } from '../../../support/servers/postgres.ts';
import { PostgresProxy } from '../../../support/servers/postgres-proxy.ts';
import { withIngester } from '../../../support/chain/harness.ts';

const spec = chainSpec({ seed: 91 });
const count = 600;
/** nobody listens on it */
const NO_SEQUENCER = '127.0.0.1:9';

void test('a start that something is wrong with', async (t) => {
  const server = await startPostgres();
  t.after(() => server.stop());
  const ordinary = new URL(server.url());

  await t.test('a wrong password ends the start with 1 and is printed nowhere', async () => {
    const url = new URL(server.url());
    url.password = 'Canary-7431-%40-secret';
    const daemon = startDaemon({ env: { CONTINUUM_GRPC_URL: NO_SEQUENCER, DATABASE_URL: url.href } });
    assert.deepEqual(await daemon.exited, { code: 1, signal: null }, daemon.tail());
    const output = daemon.output();
    assert.match(output, /Failed to connect to database/);
    assert.match(output, /28P01|password authentication failed/);
    assert.doesNotMatch(output, /Canary|7431/);
    const fatal = daemon.log.filter(({ level }) => level === 'fatal');
    assert.equal(fatal.length, 1, 'one line says what is wrong');
  });

  await t.test('a missing database ends the start with 1 and is named', async () => {
    const daemon = startDaemon({
      env: { CONTINUUM_GRPC_URL: NO_SEQUENCER, DATABASE_URL: server.url('no_such_database') },
    });
    assert.deepEqual(await daemon.exited, { code: 1, signal: null }, daemon.tail());
    assert.match(daemon.output(), /Failed to connect to database.*no_such_database/);
  });

  await t.test(
    'an unreachable database is waited for; the right password is printed nowhere either',
    async () => {
      const port = await freePort();
      const url = await server.createDatabase();
      const away = new URL(url);
      away.host = `127.0.0.1:${port}`;
      await withIngester(
        { databaseUrl: url, spec, count, env: { DATABASE_URL: away.href } },
        async (harness) => {
          const daemon = harness.daemon();
          const { reasons } = await daemon.untilReady('database');
          assert.deepEqual(reasons, ['database']);
          assert.equal((await daemon.get('/health'))?.code, 200);
          const first = await daemon.logged('Failed to connect to database');
          await daemon.logged((line) => line.msg === first.msg && line !== first);
          const proxy = await PostgresProxy.at(url, { listenPort: port });
          try {
            await harness.untilCaughtUp(daemon);
            await daemon.untilReady('ready');
            await daemon.stop();
          } finally {
            await proxy.stop();
          }
          await harness.verify();
          assert.ok(ordinary.password.length >= 6, 'a password to look for');
          assert.ok(!daemon.output().includes(decodeURIComponent(ordinary.password)));
        },
      );
    },
  );

  await t.test('SIGTERM while it waits for the database ends with 0', async () => {
    const url = new URL(server.url());
    url.host = `127.0.0.1:${await freePort()}`;
    const daemon = startDaemon({ env: { CONTINUUM_GRPC_URL: NO_SEQUENCER, DATABASE_URL: url.href } });
    await daemon.logged('Failed to connect to database');
    await daemon.stop();
  });

  await t.test(
    'a schema that is behind: the command is named, and after it all goes on by itself',
    async () => {
      const databaseUrl = await server.createDatabase(undefined, { schema: false });
      await withIngester({ databaseUrl, spec, count }, async (harness) => {
        const daemon = harness.daemon();
        const { reasons } = await daemon.untilReady('schema');
        assert.deepEqual(reasons, ['schema']);
        const line = await daemon.logged((line) => line.level === 'error' && /behind/.test(line.msg));
        assert.match(line.msg, /mdp db migrate/);
        assert.match(line.msg, /001_create_tables\.sql/);
        assert.equal((await daemon.get('/health'))?.code, 200);
        const client = await openClient(databaseUrl);
        await client.query(await schemaSql());
        await client.end();
        await harness.untilCaughtUp(daemon);
        await daemon.untilReady('ready');
        await daemon.stop();
        await harness.verify();
      });
    },
  );

  await t.test('DB_MIGRATE=auto applies the schema', async () => {
    const databaseUrl = await server.createDatabase(undefined, { schema: false });
    await withIngester({ databaseUrl, spec, count, env: { DB_MIGRATE: 'auto' } }, async (harness) => {
      const daemon = harness.daemon();
      await daemon.untilReady('ready');
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
      await harness.verify();
    });
  });

  await t.test('a health port that is taken ends the start with 1 and is named', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => {
      taken.listen(0, () => resolve());
    });
    const { port } = taken.address() as AddressInfo;
    try {
      const daemon = startDaemon({
        env: {
          CONTINUUM_GRPC_URL: NO_SEQUENCER,
          DATABASE_URL: server.url(),
          HEALTH_CHECK_PORT: `${port}`,
        },
      });
      assert.deepEqual(await daemon.exited, { code: 1, signal: null }, daemon.tail());
      assert.match(daemon.output(), new RegExp(`HEALTH_CHECK_PORT ${port} is taken`));
    } finally {
      taken.close();
    }
  });

  await t.test('bad variables end the start with 2, all of them in one message', async () => {
    const daemon = startDaemon({
      env: {
        BATCH_SIZE: 'many',
        FLUSH_INTERVAL: '100',
        START_TICK: '-1',
        DATABASE_URL: 'postgres://user:Canary-9921@host:port/db',
        OUTPUT_FORMAT: 'xml',
      },
    });
    assert.deepEqual(await daemon.exited, { code: 2, signal: null }, daemon.output());
    for (const name of ['BATCH_SIZE', 'FLUSH_INTERVAL', 'START_TICK', 'DATABASE_URL', 'OUTPUT_FORMAT']) {
      assert.match(daemon.stderr, new RegExp(`^ *${name} `, 'm'));
    }
    assert.match(daemon.stderr, /CONTINUUM_GRPC_URL is missing/);
    assert.doesNotMatch(daemon.output(), /Canary|9921/);
    assert.deepEqual(daemon.log, []);
  });

  await t.test('another CHAIN_ID on the same schema ends with 1 and writes nothing', async () => {
    const databaseUrl = await server.createDatabase();
    await withIngester({ databaseUrl, spec, count }, async (harness) => {
      const daemon = harness.daemon();
      await harness.untilCaughtUp(daemon);
      await daemon.stop();
      const other = harness.daemon({ env: { CHAIN_ID: 'another-chain' } });
      assert.deepEqual(await other.exited, { code: 1, signal: null }, other.tail());
      assert.match(other.output(), /holds the chain continuum, not CHAIN_ID=another-chain/);
      assert.equal(harness.starts().length, 1, 'it asked the sequencer for nothing');
      await harness.verify();
    });
  });

  await t.test(
    'START_TICK is ignored with a warning once a position exists; --ignore-watermark skips',
    async () => {
      const databaseUrl = await server.createDatabase();
      await withIngester({ databaseUrl, spec, count: 2_000 }, async (harness) => {
        const first = harness.daemon({ env: { START_TICK: '1500' } });
        await harness.untilCaughtUp(first);
        await first.stop();
        const second = harness.daemon({ env: { START_TICK: '7' } });
        await second.logged('START_TICK is ignored: a position exists');
        await second.untilReady('ready');
        await second.stop();
        assert.deepEqual(harness.starts(), [1_500n, 2_001n]);
        const back = harness.daemon({ env: { START_TICK: '10' }, args: ['--ignore-watermark'] });
        assert.deepEqual(await back.exited, { code: 1, signal: null }, back.tail());
        assert.match(back.output(), /cannot go back/);
        await harness.compare({ absent: (number) => number < 1_500n });
        await harness.check({ hashes: true, atRest: true });
      });
      await withIngester({ databaseUrl, spec, count: 3_000 }, async (harness) => {
        const ahead = harness.daemon({ env: { START_TICK: '2501' }, args: ['--ignore-watermark'] });
        await harness.untilCaughtUp(ahead);
        const ready = await ahead.untilReady('ready');
        assert.equal(ready.details.complete_up_to, '3000', 'what was skipped is no open gap');
        await ahead.stop();
        await harness.compare({
          absent: (number) => number < 1_500n || (number > 2_000n && number <= 2_500n),
        });
        await harness.check({ hashes: true, atRest: true });
        const client = await harness.client();
        const { rows } = await client.query('SELECT first_tick, last_tick, state FROM ingest_gaps');
        assert.deepEqual(rows, [{ first_tick: '2001', last_tick: '2500', state: 'skipped' }]);
      });
    },
  );
});
