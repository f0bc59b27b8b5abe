import { checkInvariants } from '../../../../support/chain/invariants.ts';
import { compareStored } from '../../../../support/chain/content/oracle.ts';
import { storeFrames } from '../../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../../support/chain/content/wire.ts';
import { testOnServers } from '../../../../support/servers/on-each.ts';
import { CHAIN, frame, frames, insertUnnumbered, openStore, tick } from './store.ts';

testOnServers('mdp dlq retry in gaps', async (t, open) => {
  await t.test('a frame whose tick is missing closes its gap', async (s) => {
    const store = await openStore(s, open);
    const { client } = store;
    await storeFrames(client, 1n, frames(1, 9));
    await storeFrames(client, 15n, frames(15, 19), { gaps: [{ first: 10n, last: 14n }] });
    await storeFrames(client, 25n, frames(25, 29), { gaps: [{ first: 20n, last: 24n }] });
    await client.query("SELECT ingest_close_gaps(20, 24, 'unfillable', 'found = false')");
    for (const number of [12, 10, 14, 22]) {
      await insertUnnumbered(client, wireTick(tick(number)), number - 1);
    }
    const { code, out } = await store.dlq('retry', '--all');
    s.equal(code, 0);
    s.match(out, /stored: tick 12 with 2 transactions, taken out of a gap that was open\n/);
    s.match(out, /stored: tick 22 with 2 transactions, taken out of a gap that was unfillable\n4 stored\n/);
    const gaps = await client.query<Record<string, string>>(
      'SELECT first_tick AS f, last_tick AS l, state, last_error AS error FROM ingest_gaps ORDER BY 1',
    );
    s.same(
      gaps.rows.map(({ f, l, state, error }) => `${f}..${l} ${state} ${error}`),
      [
        '10..10 filled null',
        '11..11 open null',
        '12..12 filled null',
        '13..13 open null',
        '14..14 filled null',
        '20..21 unfillable found = false',
        '22..22 filled found = false',
        '23..24 unfillable found = false',
      ],
    );
    const missing = new Set([11n, 13n, 20n, 21n, 23n, 24n]);
    await compareStored(store.url, CHAIN.slice(0, 29), { absent: (number) => missing.has(number) });
    await checkInvariants(client, { hashes: true, atRest: true });
    await s.rejects(
      storeFrames(client, 11n, [frame(11)], { fills: true }),
      { code: 'MDF01' },
      'a daemon that did not see it cannot write',
    );
  });

  await t.test(
    'what was skipped can still be stored; others that stood for the tick are resolved',
    async (s) => {
      const store = await openStore(s, open);
      const { client } = store;
      await storeFrames(client, 1n, frames(1, 9));
      await storeFrames(client, 13n, frames(13, 19), { gaps: [{ first: 10n, last: 12n }] });
      await client.query("SELECT ingest_close_gaps(10, 12, 'skipped', NULL)");
      const noise = await insertUnnumbered(client, Buffer.from([0x7f]), 10);
      const good = await insertUnnumbered(client, wireTick(tick(11)), 9);
      s.match(await store.dlq('retry', good), {
        code: 0,
        out: /tick 11 .* out of a gap that was skipped\n1 stored\n/,
      });
      const { rows } = await client.query<Record<string, string>>(
        'SELECT first_tick AS f, last_tick AS l, state FROM ingest_gaps ORDER BY 1',
      );
      s.same(
        rows.map(({ f, l, state }) => `${f}..${l} ${state}`),
        ['10..10 skipped', '11..11 filled', '12..12 skipped'],
      );
      s.match(await store.dlq('retry', noise), { code: 0, out: /resolved before/ });
      const missing = new Set([10n, 12n]);
      await compareStored(store.url, CHAIN.slice(0, 19), { absent: (number) => missing.has(number) });
      await checkInvariants(client, { hashes: true, atRest: true });
    },
  );
});
