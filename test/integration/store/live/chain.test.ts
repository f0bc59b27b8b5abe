import { LiveChain } from '../../../../src/store/live/chain.ts';
import { LiveSessions } from '../../../../src/store/live/sessions.ts';
import { withClient, migrateAll } from '../../../support/bus/postgres-bus.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';

testOnServers('the chain as the live path asks it', async (t, server) => {
  const url = await server.createDatabase();
  await migrateAll(url);
  const sessions = new LiveSessions({ dbUri: url, applicationName: 'test' });
  t.teardown(() => sessions.close());
  const chain = new LiveChain(sessions.hub, sessions.reader);
  t.same(await chain.extent(), { origin: null, position: null });
  t.same(await chain.missing(), []);
  await withClient(url, async (client) => {
    await client.query(
      `INSERT INTO ticks (tick_number, "timestamp", batch_hash, previous_output)
         SELECT n, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second', repeat('0', 64), '' FROM unnest(array[1, 2, 3, 5, 8]) n`,
    );
    await client.query(
      `INSERT INTO vdf_proofs (tick_number, input, output, proof, iterations)
         SELECT n, '', '', '', 0 FROM unnest(array[1, 2, 3, 5, 8]) n`,
    );
  });
  const numbers = async (first: bigint, last: bigint, limit: number): Promise<unknown> => {
    const { batch, hasMore } = await chain.page({ first, last }, limit, 'client');
    const column = batch.indexOf('tick_number');
    return { numbers: Array.from({ length: batch.rows }, (_, row) => batch.value(column, row)), hasMore };
  };
  t.same(await numbers(2n, 8n, 10), { numbers: [2n, 3n, 5n, 8n], hasMore: false });
  t.same(await numbers(1n, 8n, 2), { numbers: [1n, 2n], hasMore: true });
  t.same(await numbers(6n, 7n, 2), { numbers: [], hasMore: false });
  t.same(
    await chain.stored(
      [
        { first: 3n, last: 4n },
        { first: 6n, last: 9n },
      ],
      10,
      'hub',
    ),
    [3n, 8n],
  );
  t.equal(await chain.firstAt(1_767_225_604_000_000n), 5n);
  t.equal(await chain.firstAt(1_867_225_604_000_000n), null);
});
