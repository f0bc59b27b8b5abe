import assert from 'node:assert/strict';
import { checkInvariants } from '../../../../support/chain/invariants.ts';
import { compareStored } from '../../../../support/chain/content/oracle.ts';
import { storeFrames, TEST_EPOCH } from '../../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../../support/chain/content/wire.ts';
import { systemClock } from '../../../../../src/core/time.ts';
import { testOnServers } from '../../../../support/servers/on-each.ts';
import {
  CHAIN,
  COUNT,
  frame,
  frames,
  insertNumbered,
  insertUnnumbered,
  NOW,
  objects,
  openStore,
  rewritten,
  tick,
  type Store,
} from './store.ts';

async function untouched(store: Store, work: () => Promise<void>): Promise<void> {
  const look = async (): Promise<unknown> => {
    const { rows } = await store.client.query(
      `SELECT (SELECT jsonb_agg(l ORDER BY first_tick) FROM ingest_ledger l) AS ledger,
         (SELECT jsonb_agg(g ORDER BY gap_id) FROM ingest_gaps g) AS gaps,
         (SELECT jsonb_agg(d ORDER BY dead_letter_id) FROM dead_letters d) AS letters,
         (SELECT jsonb_agg(s) FROM ingest_state s) AS state,
         (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM vdf_proofs) AS proofs,
         (SELECT count(*) FROM tick_transactions) AS transactions`,
    );
    return rows[0];
  };
  const before = await look();
  await work();
  assert.deepEqual(await look(), before, 'nothing changed');
}

testOnServers('mdp dlq retry: what becomes of a dead letter', async (t, open) => {
  await t.test('retry stores what is good by the rules of today, with the ledger in step', async (s) => {
    const store = await openStore(s, open);
    await storeFrames(store.client, 1n, frames(1, 12), { tickMaxBytes: 4 * 2 ** 20 });
    await storeFrames(store.client, 13n, frames(13, 20), { tickMaxBytes: 100 });
    await storeFrames(store.client, 21n, frames(21, COUNT));
    await checkInvariants(store.client, { hashes: true, atRest: true });
    s.match(await store.dlqWith({ tickBytesMax: 100 }, 'retry', '--all'), {
      code: 1,
      out: /^1 {2}still bad: too_large: the frame has \d+ bytes, above the limit of 100; stays open$/m,
      err: 'mdp dlq retry: 8 of 8 not resolved; "mdp dlq show ID" tells more\n',
    });
    const done = await store.dlq('retry', '--reason', 'too_large');
    s.match(done, { code: 0, out: /^\d+ {2}stored: tick 13 with 2 transactions$/m, err: '' });
    s.match(done.out, /^8 stored$/m);
    await compareStored(store.url, CHAIN);
    await checkInvariants(store.client, { hashes: true, atRest: true });
    const { rows } = await store.client.query(
      'SELECT first_tick, ticks, transactions, dead_letters FROM ingest_ledger WHERE first_tick = 13',
    );
    s.same(rows, [{ first_tick: '13', ticks: '8', transactions: '16', dead_letters: '0' }]);
    const previous = await store.client.query(
      'SELECT tick_number FROM ticks WHERE tick_number BETWEEN 13 AND 20 AND previous_output IS NULL',
    );
    s.same(previous.rows, [], 'previous_output is stored in each row');
    const letters = await store.client.query(
      `SELECT DISTINCT status, resolved_at IS NOT NULL AS stamped FROM dead_letters`,
    );
    s.same(letters.rows, [{ status: 'resolved', stamped: true }]);
    const state = await store.client.query('SELECT epoch FROM ingest_state');
    s.same(state.rows, [{ epoch: `${TEST_EPOCH}` }], 'a running daemon need not begin anew');
    s.match(await store.dlq('retry', '--all'), {
      code: 0,
      out: 'no open dead letter: nothing to do\n',
    });
    s.match(await store.dlq('retry', (await store.ids()).get(13) ?? ''), {
      code: 0,
      out: /resolved before, at \d{4}-.*Z\n1 resolved before\n/,
    });
  });

  await t.test("a rule that depends on the clock is asked again, by the database's", async (s) => {
    const days = 3n * 86_400_000_000n;
    const ahead = { ...tick(5), timestamp: systemClock.nowMicros() + days };
    const early = await openStore(s, open);
    await storeFrames(early.client, 1n, frames(1, 9, { 5: { raw: wireTick(ahead) } }));
    const refused = await early.dlq('retry', '--all', '--json');
    s.equal(refused.code, 1);
    s.match(objects(refused.out), [{ outcome: 'bad', done: false, reason: 'time_out_of_range' }]);
    // it was ahead of the clock of the machine alone, which still says NOW
    const store = await openStore(s, open);
    const future = { ...tick(5), timestamp: NOW + days };
    await storeFrames(store.client, 1n, frames(1, 9, { 5: { raw: wireTick(future) } }));
    const later = await store.dlq('retry', '--all', '--json');
    s.equal(later.code, 0);
    const id = Number((await store.ids()).get(5));
    s.same(objects(later.out), [
      {
        id,
        outcome: 'stored',
        done: true,
        tick: '5',
        transactions: 2,
        also: [],
        gap: null,
        broken_links: [],
      },
    ]);
    await compareStored(store.url, [...CHAIN.slice(0, 4), future, ...CHAIN.slice(5, 9)]);
    await checkInvariants(store.client, { atRest: true });
  });

  await t.test('what stays open changes nothing', async (s) => {
    const store = await openStore(s, open);
    await storeFrames(store.client, 1n, frames(1, 20, { 7: frame(7, 'iterations') }));
    await store.client.query('ALTER TABLE vdf_proofs ADD CHECK (tick_number <> 9) NOT VALID');
    await storeFrames(store.client, 21n, frames(21, 30), { tickMaxBytes: 100 });
    await store.client.query('ALTER TABLE vdf_proofs ADD CHECK (tick_number <> 22)');
    const { client } = store;
    const conflict = await insertNumbered(client, wireTick(rewritten(6)), 6, 'conflict');
    const beyond = await insertUnnumbered(client, wireTick(tick(33)), 30);
    const below = await insertUnnumbered(client, wireTick({ ...tick(33), tickNumber: 0n }), 30);
    const other = await insertNumbered(client, wireTick(tick(4)), 8, 'too_large');
    const ids = await store.ids();
    await untouched(store, async () => {
      const outcome = async (id: string): Promise<Record<string, unknown>> => {
        const { code, out, err } = await store.dlq('retry', '--json', id);
        s.equal(code, 1);
        s.match(err, /^mdp dlq retry: 1 of 1 not resolved/);
        return objects(out)[0] ?? {};
      };
      s.match(await outcome(ids.get(7) ?? ''), {
        outcome: 'bad',
        reason: 'iterations_out_of_range',
        detail: 'vdf_proof.iterations 9223372036854775808 is above 2^63-1',
      });
      s.match(await outcome(ids.get(22) ?? ''), { outcome: 'refused', tick: '22', sqlstate: '23514' });
      const said = await outcome(conflict);
      s.match(said, { outcome: 'conflict', tick: '6' });
      s.ok((said['fields'] as string[]).includes('transaction_batch_hash'));
      s.match(await outcome(beyond), { outcome: 'unplaced', detail: /tick 33 is not recorded yet/ });
      s.match(await outcome(below), {
        outcome: 'unplaced',
        detail: /lies below the first tick of this store, 1/,
      });
      s.match(await outcome(other), { outcome: 'bad', reason: 'other_number' });
      s.match(await outcome('4711'), { outcome: 'absent' });
      s.match(await store.dlq('retry', conflict), {
        code: 1,
        out: /conflict: another tick 6 is stored, differing in transaction_batch_hash, .* and \d+ more; stays open/,
      });
    });
    s.match(await store.dlq('retry', ids.get(22) ?? '', ids.get(23) ?? ''), {
      code: 1,
      out: /refused: tick 22: .*\(23514\); stays open\n\d+ {2}stored: tick 23 .*\n1 refused by the database, 1 stored\n/,
      err: /1 of 2 not resolved/,
    });
  });

  await t.test('a letter that says what is stored is resolved', async (s) => {
    const store = await openStore(s, open);
    await storeFrames(store.client, 1n, frames(1, 12));
    // the same tick, its bytes in another order
    const canonical = wireTick(tick(4));
    const shuffled = Buffer.concat([canonical.subarray(2), canonical.subarray(0, 2)]);
    const ids = [
      await insertNumbered(store.client, shuffled, 4, 'conflict'),
      await insertUnnumbered(store.client, wireTick(tick(8)), 7),
    ];
    const { code, out } = await store.dlq('retry', ...ids);
    s.equal(code, 0);
    s.match(
      out,
      /already stored: tick 4 is equal, resolved\n.*already stored: tick 8 is equal, resolved\n2 already stored\n/,
    );
    await compareStored(store.url, CHAIN.slice(0, 12));
    await checkInvariants(store.client, { atRest: true });
    s.match(await store.dlq('list'), { out: '0 open dead letters\n' });
  });

  await t.test('a tick that does not continue the chain is stored and told', async (s) => {
    const store = await openStore(s, open);
    const odd = { ...tick(5), previousOutput: 'ab'.repeat(256) };
    await storeFrames(store.client, 1n, frames(1, 12, { 5: { raw: wireTick(odd) } }), {
      tickMaxBytes: 100,
    });
    s.match(await store.dlq('retry', '--all'), {
      code: 0,
      out: /tick 5 with 2 transactions, link broken at 5\n/,
    });
    const { rows } = await store.client.query('SELECT tick_number, kind FROM chain_alarms');
    s.same(rows, [{ tick_number: '5', kind: 'link' }]);
    await compareStored(store.url, [...CHAIN.slice(0, 4), odd, ...CHAIN.slice(5, 12)]);
  });

  await t.test('letters of the same tick are resolved with it', async (s) => {
    const store = await openStore(s, open);
    await storeFrames(store.client, 1n, frames(1, 12, { 5: frame(5, 'batch-hash') }));
    const bad = (await store.ids()).get(5) ?? '';
    // what the stream sent later under the same number: kept beside the dead letter that stands for the tick
    const good = await insertNumbered(store.client, wireTick(tick(5)), 5, 'conflict');
    await checkInvariants(store.client, { atRest: true });
    s.match(await store.dlq('retry', good), {
      code: 0,
      out: new RegExp(`stored: tick 5 with 2 transactions, resolved with it: ${bad}\n`),
    });
    await compareStored(store.url, CHAIN.slice(0, 12));
    await checkInvariants(store.client, { hashes: true, atRest: true });
    s.match(await store.dlq('list'), { out: '0 open dead letters\n' });
  });

  await t.test('rows that were taken away by hand are not made up for', async (s) => {
    const store = await openStore(s, open);
    await storeFrames(store.client, 1n, frames(1, 12));
    const id = await insertNumbered(store.client, wireTick(tick(5)), 5, 'conflict');
    await store.client.query('DELETE FROM vdf_proofs WHERE tick_number = 5');
    s.match(await store.dlq('retry', id), {
      code: 1,
      out: /no place: tick 5 is stored in part: see mdp quality/,
    });
    await store.client.query('DELETE FROM ticks WHERE tick_number = 5');
    await store.client.query('DELETE FROM tick_transactions WHERE tick_number = 5');
    s.match(await store.dlq('retry', id), {
      code: 1,
      out: /no place: tick 5 is counted as stored, but its rows are not there: see mdp quality --from 5 --to 5; stays open/,
    });
  });
});
