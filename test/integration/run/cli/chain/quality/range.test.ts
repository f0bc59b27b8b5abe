import { testOnServers } from '../../../../../support/servers/on-each.ts';
import { ABSENT, judge, openStore, storeChain, time } from './store.ts';

testOnServers('mdp quality: ranges of time', async (t, open) => {
  await t.test('by time the range is half-open and holds what is missing at its bounds', async (s) => {
    const { url, client } = await openStore(s, open);
    await storeChain(client, ABSENT);
    const range = async (from: string, to: string): Promise<unknown> =>
      (await judge(url, '--from', from, '--to', to)).range;
    s.same(await range(time(1100), time(1200)), { first: '1100', last: '1199' });
    s.same(await range(time(1209), time(1212)), { first: '1209', last: '1211' });
    s.same(
      await range(time(1212), time(1213)),
      { first: '1210', last: '1212' },
      'the gap may have been after its bound',
    );
    s.same(await range(time(1241), '1242'), { first: '1240', last: '1242' }, 'a time and a number');
    s.same(await range('2025-08-23', '2025-08-24'), { first: '1000', last: '1399' });
    s.same(await range(time(1300), '1350'), { first: '1300', last: '1350' });
    s.same(await range('1300', time(1350)), { first: '1300', last: '1349' });
    for (const day of ['2025-08-22', '2025-08-24']) {
      const json = await judge(url, '--from', `${day}T01:00`, '--to', `${day}T02:00:00+00:00`);
      s.match(json, { code: 0, range: null, expected: '0', times: null });
    }
  });

  await t.test('by time the range holds every tick of it, also where timestamps go backwards', async (s) => {
    const { url, client } = await openStore(s, open);
    await storeChain(client);
    for (const [number, like] of [
      [1020, 1200],
      [1350, 1150],
    ]) {
      await client.query(`UPDATE ticks SET "timestamp" = $2 WHERE tick_number = $1`, [
        number,
        time(like ?? 0),
      ]);
    }
    const { range } = await judge(url, '--from', time(1100), '--to', time(1300), '--no-hashes');
    s.same(range, { first: '1020', last: '1350' });
  });
});
