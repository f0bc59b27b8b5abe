import type { Client } from 'pg';
import { mergeLedger } from '../../../../../src/store/chain/ledger.ts';
import { checkInvariants } from '../../../../support/chain/invariants.ts';
import { compareStored, openClient } from '../../../../support/chain/content/oracle.ts';
import { storeFrames, TEST_EPOCH } from '../../../../support/chain/content/stored-chain.ts';
import { until } from '../../../../support/until.ts';
import { wireTick } from '../../../../support/chain/content/wire.ts';
import { startMdp } from './program.ts';
import { testOnServers } from '../../../../support/servers/on-each.ts';
import { CHAIN, COUNT, frames, objects, openStore, tick } from './store.ts';

/** The leader's housekeeping without a pause. */
async function mergeUntil(signal: AbortSignal, client: Client): Promise<void> {
  for (let upTo = 8n; !signal.aborted; upTo = (upTo % BigInt(COUNT)) + 4n) {
    await mergeLedger(client, TEST_EPOCH, upTo);
  }
}

testOnServers('mdp dlq retry, all or nothing', async (t, open) => {
  await t.test('two retries at once store once, while the ledger is merged', async (s) => {
    const store = await openStore(s, open);
    for (let first = 1; first <= COUNT; first += 4) {
      await storeFrames(store.client, BigInt(first), frames(first, first + 3), { tickMaxBytes: 100 });
    }
    const merger = await openClient(store.url);
    const merging = new AbortController();
    const merged = mergeUntil(merging.signal, merger);
    const outcomes = await Promise.all([1, 2, 3].map(() => store.dlq('retry', '--all', '--json')));
    merging.abort();
    await merged;
    await merger.end();
    s.same(
      outcomes.map(({ code, err }) => ({ code, err })),
      outcomes.map(() => ({ code: 0, err: '' })),
    );
    const told = outcomes.flatMap(({ out }) => objects(out));
    s.equal(told.filter(({ outcome }) => outcome === 'stored').length, COUNT, 'each tick once');
    s.ok(told.every(({ outcome }) => outcome === 'stored' || outcome === 'resolved_before'));
    await compareStored(store.url, CHAIN);
    await checkInvariants(store.client, { hashes: true, atRest: true });
  });

  await t.test('killed in the middle, it has done all or nothing', async (s) => {
    for (const end of ['its backend too', 'the backend goes on'] as const) {
      const store = await openStore(s, open);
      const { client } = store;
      await storeFrames(client, 1n, frames(1, 12, { 5: { raw: wireTick(tick(5)) } }), {
        tickMaxBytes: 100,
      });
      const id = (await store.ids()).get(5) ?? '';
      // ticks and vdf_proofs are written then, tick_transactions is not
      await client.query('BEGIN; LOCK TABLE tick_transactions IN EXCLUSIVE MODE');
      const child = startMdp(store.url, 'dlq', 'retry', id);
      let backend = '';
      await until('the retry waits for the table', async () => {
        const { rows } = await client.query<{ pid: string }>(
          "SELECT pid FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND relation IN (SELECT oid FROM pg_class WHERE relname = 'tick_transactions' OR relname LIKE '%hyper%')",
        );
        backend = rows[0]?.pid ?? '';
        return backend !== '';
      });
      child.kill('SIGKILL');
      if (end === 'its backend too') await client.query('SELECT pg_terminate_backend($1)', [backend]);
      await client.query('COMMIT');
      await until('its backend is gone', async () => {
        const { rowCount } = await client.query('SELECT FROM pg_stat_activity WHERE pid = $1', [backend]);
        return rowCount === 0;
      });
      await checkInvariants(client, { hashes: true, atRest: true });
      const { rows } = await client.query<Record<string, string>>(
        'SELECT (SELECT count(*) FROM ticks WHERE tick_number = 5) AS stored, status FROM dead_letters WHERE dead_letter_id = $1',
        [id],
      );
      const seen = `${rows[0]?.['stored']} ${rows[0]?.['status']}`;
      if (end === 'its backend too') s.equal(seen, '0 open');
      else s.ok(seen === '0 open' || seen === '1 resolved', seen);
      s.match(await store.dlq('retry', '--all'), { code: 0 });
      await compareStored(store.url, CHAIN.slice(0, 12));
      await checkInvariants(client, { hashes: true, atRest: true });
    }
  });
});
