import { testOnServers } from '../../../../../support/servers/on-each.ts';
import { ABSENT, foundIn, judge, openStore, storeChain } from './store.ts';

/** Something that must not be, at one tick; what must be found there, and where. */
interface Injection {
  name: string;
  at: number;
  sql: (at: number) => string[];
  found: (at: number) => Record<string, string>;
  problems: string[];
}

const copyOfTransaction = (at: number, change: string): string =>
  `INSERT INTO tick_transactions SELECT (x).* FROM (
     SELECT jsonb_populate_record(x, ${change}) AS x FROM tick_transactions x
      WHERE tick_number = ${at} ORDER BY sequence_number LIMIT 1) c`;

const INJECTIONS: readonly Injection[] = [
  {
    name: 'rows that are gone',
    at: 1010,
    sql: (at) =>
      ['ticks', 'vdf_proofs', 'tick_transactions'].map(
        (table) => `DELETE FROM ${table} WHERE tick_number = ${at}`,
      ),
    // the row after it relies on its output
    found: (at) => ({ 'missing.unexplained': `1: ${at}`, link_unknown: `1: ${at + 1}` }),
    problems: ['missing.unexplained', 'findings.link_unknown'],
  },
  {
    name: 'a tick of which only the proof is left',
    at: 1020,
    sql: (at) => [
      `DELETE FROM ticks WHERE tick_number = ${at}`,
      `DELETE FROM tick_transactions WHERE tick_number = ${at}`,
    ],
    found: (at) => ({ 'missing.unexplained': `1: ${at}`, proof_without_tick: `1: ${at}` }),
    problems: ['missing.unexplained', 'findings.proof_without_tick'],
  },
  {
    name: 'a tick without its proof',
    at: 1030,
    sql: (at) => [`DELETE FROM vdf_proofs WHERE tick_number = ${at}`],
    found: (at) => ({ tick_without_proof: `1: ${at}`, link_unknown: `1: ${at + 1}` }),
    problems: ['findings.tick_without_proof', 'findings.link_unknown'],
  },
  {
    name: 'a tick that is there twice',
    at: 1040,
    sql: (at) => [
      `INSERT INTO ticks SELECT tick_number, "timestamp" + interval '1 second', batch_hash, previous_output FROM ticks WHERE tick_number = ${at}`,
    ],
    found: (at) => ({ tick_twice: `1: ${at}`, time_backwards: `1: ${at + 1}` }),
    problems: ['findings.tick_twice'],
  },
  {
    name: 'a transaction that is there twice',
    at: 1050,
    sql: (at) => [
      copyOfTransaction(at, `jsonb_build_object('tick_timestamp', x.tick_timestamp + interval '1 second')`),
    ],
    found: (at) => ({
      transaction_twice: `1: ${at}`,
      transaction_without_tick: `1: ${at}`,
      batch_hash: `1: ${at}`,
    }),
    problems: ['findings.transaction_twice', 'findings.transaction_without_tick', 'findings.batch_hash'],
  },
  {
    name: 'a transaction that is gone',
    at: 1060,
    sql: (at) => [
      `DELETE FROM tick_transactions WHERE (tick_number, sequence_number) IN (
         SELECT tick_number, max(sequence_number) FROM tick_transactions WHERE tick_number = ${at} GROUP BY 1)`,
    ],
    found: (at) => ({ batch_hash: `1: ${at}` }),
    problems: ['findings.batch_hash'],
  },
  {
    name: 'another previous_output',
    at: 1070,
    sql: (at) => [`UPDATE ticks SET previous_output = repeat('ab', 256) WHERE tick_number = ${at}`],
    found: (at) => ({ link_broken: `1: ${at}`, vdf_input: `1: ${at}` }),
    problems: ['findings.link_broken', 'findings.vdf_input'],
  },
  {
    name: 'a previous_output in capitals is the same bytes',
    at: 1080,
    sql: (at) => [
      `UPDATE ticks SET previous_output = (SELECT upper(output) FROM vdf_proofs WHERE tick_number = ${at} - 1) WHERE tick_number = ${at}`,
    ],
    found: () => ({}),
    problems: [],
  },
  {
    name: 'a payload with another bit',
    at: 1090,
    sql: (at) => [
      `UPDATE tick_transactions SET signature = set_bit(signature, 5, 1 - get_bit(signature, 5)) WHERE tick_number = ${at}`,
    ],
    found: (at) => ({ tx_hash: `1: ${at}` }),
    problems: ['findings.tx_hash'],
  },
  {
    name: 'another nonce',
    at: 1100,
    sql: (at) => [`UPDATE tick_transactions SET nonce = nonce - 1 WHERE tick_number = ${at}`],
    found: (at) => ({ tx_hash: `1: ${at}` }),
    problems: ['findings.tx_hash'],
  },
  {
    name: 'a batch_hash that is no hex',
    at: 1110,
    sql: (at) => [`UPDATE ticks SET batch_hash = repeat('z', 64) WHERE tick_number = ${at}`],
    found: (at) => ({ batch_hash: `1: ${at}`, vdf_input: `1: ${at}` }),
    problems: ['findings.batch_hash', 'findings.vdf_input'],
  },
  {
    name: 'a nonce and a time that are no u64',
    at: 1120,
    sql: (at) => [
      `UPDATE tick_transactions SET nonce = 'NaN' WHERE tick_number = ${at}`,
      `UPDATE tick_transactions SET "timestamp" = 'infinity', timestamp_us = NULL WHERE tick_number = ${at + 1}`,
    ],
    found: (at) => ({ tx_hash: `2: ${at} ${at + 1}` }),
    problems: ['findings.tx_hash'],
  },
  {
    name: 'another input',
    at: 1130,
    sql: (at) => [`UPDATE vdf_proofs SET input = reverse(input) WHERE tick_number = ${at}`],
    found: (at) => ({ vdf_input: `1: ${at}` }),
    problems: ['findings.vdf_input'],
  },
  {
    name: 'a time before that of the tick before',
    at: 1140,
    sql: (at) => [
      `UPDATE ticks SET "timestamp" = "timestamp" - interval '2 ms' WHERE tick_number = ${at}`,
      `UPDATE tick_transactions SET tick_timestamp = tick_timestamp - interval '2 ms' WHERE tick_number = ${at}`,
    ],
    found: (at) => ({ time_backwards: `1: ${at}` }),
    problems: [],
  },
  {
    name: 'alarms of CHAIN_CHECK',
    at: 1150,
    sql: (at) => [
      `INSERT INTO chain_alarms (tick_number, kind) VALUES (${at}, 'link'), (${at}, 'vdf_output'), (${at + 1}, 'vdf_output')`,
    ],
    found: (at) => ({ link: `1: ${at}`, vdf_output: `2: ${at} ${at + 1}` }),
    problems: ['chain_alarms.link', 'chain_alarms.vdf_output'],
  },
  {
    name: 'an open conflict',
    at: 1160,
    sql: (at) => [
      `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256) VALUES (${at}, 'conflict', 'x', sha256('x'))`,
    ],
    found: (at) => ({ open_conflict: `1: ${at}` }),
    problems: ['findings.open_conflict'],
  },
  {
    name: 'a resolved conflict is history',
    at: 1170,
    sql: (at) => [
      `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256, status) VALUES (${at}, 'conflict', 'x', sha256('x'), 'resolved')`,
    ],
    found: () => ({}),
    problems: [],
  },
  {
    name: 'a gap over what is stored',
    at: 1180,
    sql: (at) => [`INSERT INTO ingest_gaps (first_tick, last_tick) VALUES (${at}, ${at + 1})`],
    found: (at) => ({ stored_in_gap: `2: ${at}` }),
    problems: ['findings.stored_in_gap'],
  },
  {
    name: 'a dead letter that was resolved without rows',
    at: 1190,
    sql: (at) => [
      ...['ticks', 'vdf_proofs', 'tick_transactions'].map(
        (table) => `DELETE FROM ${table} WHERE tick_number = ${at}`,
      ),
      `INSERT INTO dead_letters (tick_number, reason, raw, raw_sha256, status) VALUES (${at}, 'too_large', 'x', sha256('x'), 'resolved')`,
    ],
    found: (at) => ({ 'missing.unexplained': `1: ${at}`, link_unknown: `1: ${at + 1}` }),
    problems: ['missing.unexplained', 'findings.link_unknown'],
  },
  {
    name: 'a transaction of a tick that is not there',
    at: 1225, // an unfillable gap, see below
    sql: (at) => [copyOfTransaction(1224, `jsonb_build_object('tick_number', ${at})`)],
    found: (at) => ({ 'missing.unfillable_gap': `1: ${at}`, transaction_without_tick: `1: ${at}` }),
    problems: ['findings.transaction_without_tick'],
  },
];

testOnServers('mdp quality: everything that is wrong', async (t, open) => {
  await t.test('everything that is wrong is found where it is', async (s) => {
    const { url, client } = await openStore(s, open);
    await storeChain(client, ABSENT);
    for (const { sql, at } of INJECTIONS) for (const statement of sql(at)) await client.query(statement);
    for (const { name, at, found, problems } of INJECTIONS) {
      const json = await judge(url, '--from', `${at}`, '--to', `${at + 2}`);
      s.same(foundIn(json), found(at), name);
      s.same(json.problems.toSorted(), problems.toSorted(), name);
      s.equal(json.code, problems.length > 0 ? 1 : 0, name);
    }
    // all at once, over the bounds of the small ranges
    const json = await judge(url);
    const wanted = new Map<string, { count: number; first: string[] }>();
    for (const { at, found } of INJECTIONS) {
      for (const [name, text] of Object.entries(found(at))) {
        if (name.startsWith('missing.')) continue;
        const [count = '', first = ''] = text.split(': ');
        const sum = wanted.get(name) ?? { count: 0, first: [] };
        wanted.set(name, {
          count: sum.count + Number(count),
          first: [...sum.first, ...first.split(' ')].slice(0, 5),
        });
      }
    }
    const seen = Object.entries({ ...json.findings, ...json.chain_alarms })
      .filter(([, { count }]) => count > 0)
      .map(([name, { count, first }]) => [name, { count, first }] as const);
    s.same(Object.fromEntries(seen), Object.fromEntries(wanted));
    s.same(json.missing['unexplained']?.ticks, '3');
    s.equal((await judge(url, '--from', '1260', '--to', '1399')).code, 0, 'and nothing elsewhere');
  });
});
