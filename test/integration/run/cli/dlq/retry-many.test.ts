import { test } from 'tap';
import { retryDeadLetter } from '../../../../../src/store/chain/retry-dead-letter.ts';
import { openClient, compareStored } from '../../../../support/chain/content/oracle.ts';
import { storeFrames } from '../../../../support/chain/content/stored-chain.ts';
import { testServers } from '../../../../support/servers/postgres.ts';
import { CHAIN, COUNT, frames, NOW, openStore } from './store.ts';

for (const server of testServers()) {
  void test(`many dead letters on ${server.name}`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());

    await t.test('no statement of a retry is compiled, whatever the defaults are', async (s) => {
      const store = await openStore(s, open);
      const { client } = store;
      await storeFrames(client, 1n, frames(1, COUNT), { tickMaxBytes: 100 });
      const database = new URL(store.url).pathname.slice(1);
      await client.query(
        `CREATE TABLE seen (jit text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO seen VALUES (current_setting('jit')); RETURN NEW; END $$;
         CREATE TRIGGER see BEFORE INSERT ON ticks FOR EACH ROW EXECUTE FUNCTION see();
         ALTER DATABASE "${database}" SET jit = on`,
      );
      // a session that a pooler hands out has the defaults
      const pooled = await openClient(store.url);
      s.teardown(() => pooled.end());
      const id = BigInt((await store.ids()).get(1) ?? '');
      s.match(await retryDeadLetter(pooled, id, { tickMaxBytes: 1 << 20, nowMicros: NOW }), {
        kind: 'stored',
      });
      s.match(await store.dlq('retry', '--all'), { code: 0 });
      const { rows } = await client.query('SELECT jit, count(*)::int AS n FROM seen GROUP BY jit');
      s.strictSame(
        rows.map((row) => ({ ...row })),
        [{ jit: 'off', n: COUNT }],
      );
      await compareStored(store.url, CHAIN);
    });
  });
}
