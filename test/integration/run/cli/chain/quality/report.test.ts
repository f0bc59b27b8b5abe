import { compareStored } from '../../../../../support/chain/content/oracle.ts';
import { testOnServers } from '../../../../../support/servers/on-each.ts';
import { ABSENT, CHAIN, foundIn, judge, openStore, quality, storeChain } from './store.ts';

testOnServers('mdp quality: what it tells', async (t, open) => {
  await t.test('a good chain is good', async (s) => {
    const { url, client } = await openStore(s, open);
    await storeChain(client);
    await compareStored(url, CHAIN);
    const json = await judge(url);
    s.equal(json.code, 0);
    s.same(foundIn(json), {});
    s.match(json, {
      ok: true,
      problems: [],
      chain_id: 'continuum',
      range: { first: '1000', last: '1399' },
      times: { first: '2025-08-23T10:00:00.000000Z', last: '2025-08-23T10:00:00.159600Z' },
      origin: '1000',
      position: '1399',
      complete_up_to: '1399',
      expected: '400',
      stored: '400',
      transactions: 800,
      hashes: true,
      dead_letters: [],
    });
    const text = await quality(url);
    s.equal(text.code, 0);
    s.match(text.out, /^range {5}1000 to 1399$/m);
    s.match(text.out, /^stored {4}400 ticks, 800 transactions$/m);
    s.match(text.out, /^missing: unexplained +0 {2}ok$/m);
    s.match(text.out, /\n\ngood: no problem found\n$/);
    s.equal(text.err, '');
    const without = await judge(url, '--no-hashes');
    s.same(
      Object.keys(json.findings).filter((name) => !(name in without.findings)),
      ['tx_hash', 'batch_hash', 'vdf_input'],
    );
  });

  await t.test('each cause of a missing tick is told', async (s) => {
    const { url, client } = await openStore(s, open);
    await storeChain(client, ABSENT);
    const json = await judge(url);
    s.same(foundIn(json), {
      'missing.open_gap': '3: 1210..1211 1250',
      'missing.unfillable_gap': '1: 1225',
      'missing.skipped_gap': '1: 1230',
      'missing.dead_letter': '1: 1240',
    });
    s.same(json.problems, ['missing.open_gap', 'missing.dead_letter']);
    s.match(json, { expected: '400', stored: '394', complete_up_to: '1209', position: '1399' });
    s.same(json.dead_letters, [
      { reason: 'batch_hash_not_hex', status: 'open', numbered: true, count: 1, first: ['1240'] },
      { reason: 'malformed_frame', status: 'open', numbered: false, count: 1, first: ['1250'] },
    ]);
    s.equal(
      (await judge(url, '--from', '1212', '--to', '1239')).code,
      0,
      'unfillable and skipped are information',
    );
    s.equal((await judge(url, '--from', '1211', '--to', '1239')).code, 1);
    s.same(foundIn(await judge(url, '--from', '1390', '--to', '1410')), {
      'missing.not_recorded': '11: 1400..1410',
    });
    s.same((await judge(url, '--from', '900', '--to', '1000')).problems, ['missing.not_recorded']);
    const far = await judge(url, '--from', '1399', '--to', '9223372036854775807');
    s.equal(far.missing['not_recorded']?.ticks, `${2n ** 63n - 1n - 1399n}`);
    const text = await quality(url);
    s.equal(text.code, 1);
    s.equal(text.err, 'mdp quality: found missing.open_gap, missing.dead_letter\n');
    s.match(text.out, /^missing: open gap +3 {2}PROBLEM +1210\.\.1211, 1250$/m);
    s.match(text.out, /^missing: skipped gap +1 {2}information {2}1230$/m);
    s.match(text.out, /^malformed_frame \(no usable number\) +1 {2}open +1250$/m);
    s.match(text.out, /\n\n2 problems found\n$/);
  });
});
