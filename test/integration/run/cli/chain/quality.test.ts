import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import { test } from 'tap';
import { registerQuality } from '../../../../../src/run/cli/chain/quality.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';
import { chainSpec, expectedTicks, type ExpectedTick } from '../../../../support/chain/content/expected.ts';
import { compareStored, openClient } from '../../../../support/chain/content/oracle.ts';
import {
  schemaSql,
  startPostgres,
  testServers,
  type OpenTestServer,
} from '../../../../support/servers/postgres.ts';
import { beginChain, storeFrames, type StoredFrame } from '../../../../support/chain/content/stored-chain.ts';
import { malformed, wireTick } from '../../../../support/chain/content/wire.ts';

const FIRST = 1000n;
const COUNT = 400;
const CHAIN = [...expectedTicks(chainSpec({ seed: 51, txs: 2, first: FIRST, hostile: true }), COUNT)];
const LAST = FIRST + BigInt(COUNT) - 1n;

/** number → what the store has of it instead */
type Absent = 'open' | 'unfillable' | 'skipped' | 'letter' | 'unnumbered';

interface Json {
  ok: boolean;
  problems: string[];
  range: { first: string; last: string } | null;
  times: { first: string; last: string } | null;
  expected: string;
  stored: string;
  transactions: number;
  missing: Record<
    string,
    { severity: string; ticks: string; ranges: number; first: { first: string; last: string }[] }
  >;
  findings: Record<string, { severity: string; count: number; first: string[] }>;
  chain_alarms: Record<string, { severity: string; count: number; first: string[] }>;
  dead_letters: { reason: string; status: string; numbered: boolean; count: number; first: string[] }[];
}

function quality(url: string | undefined, ...args: string[]): Promise<Outcome> {
  const clock = { nowMicros: () => 0n, monotonicMs: () => 0 };
  return runInProcess((program) => registerQuality(program, { databaseUrl: url, clock }), 'quality', ...args);
}

async function judge(url: string, ...args: string[]): Promise<Json & { code: number }> {
  const { code, out, err } = await quality(url, '--json', ...args);
  assert.notEqual(out, '', err);
  const json = JSON.parse(out) as Json;
  assert.equal(json.ok, code === 0);
  assert.equal(err, code === 0 ? '' : `mdp quality: found ${json.problems.join(', ')}\n`);
  return { ...json, code };
}

/** What was found, without what was looked for in vain. */
function foundIn({ missing, findings, chain_alarms: alarms }: Json): Record<string, string> {
  const entries = [
    ...Object.entries(missing).map(([name, { ticks, first }]) => [
      `missing.${name}`,
      ticks,
      first.map((range) => (range.first === range.last ? range.first : `${range.first}..${range.last}`)),
    ]),
    ...Object.entries({ ...findings, ...alarms }).map(([name, { count, first }]) => [
      name,
      `${count}`,
      first,
    ]),
  ] as [string, string, string[]][];
  return Object.fromEntries(
    entries
      .filter(([, count]) => count !== '0')
      .map(([name, count, first]) => [name, `${count}: ${first.join(' ')}`]),
  );
}

function tick(number: number): ExpectedTick {
  const found = CHAIN[number - Number(FIRST)];
  assert.ok(found !== undefined);
  return found;
}

/** Its timestamp, ISO-8601. */
function time(number: number): string {
  const micros = `${tick(number).timestamp}`;
  return `${new Date(Number(micros.slice(0, -3))).toISOString().slice(0, -1)}${micros.slice(-3)}Z`;
}

/** The chain in batches of 50, gaps and dead letters as the daemon leaves them. */
async function storeChain(client: Client, absent: Record<number, Absent> = {}): Promise<void> {
  await beginChain(client, FIRST);
  for (let first = Number(FIRST); first <= Number(LAST);) {
    const gaps: { first: bigint; last: bigint }[] = [];
    while (isGap(absent[first])) {
      gaps.push({ first: BigInt(first), last: BigInt(first) });
      first += 1;
    }
    const frames: StoredFrame[] = [];
    let next = first;
    for (; next <= Number(LAST) && frames.length < 50 && !isGap(absent[next]); next += 1) {
      frames.push({
        raw: absent[next] === 'letter' ? malformed(tick(next), 'batch-hash') : wireTick(tick(next)),
      });
    }
    if (absent[next] === 'unnumbered') frames.push({ raw: Buffer.from([0x7f]), unnumbered: true });
    await storeFrames(client, BigInt(first), frames, { gaps });
    first = next;
  }
  for (const [number, state] of Object.entries(absent)) {
    if (state === 'unfillable' || state === 'skipped') {
      await client.query('SELECT ingest_close_gaps($1, $1, $2, NULL)', [number, state]);
    }
  }
}

function isGap(absent: Absent | undefined): boolean {
  return absent !== undefined && absent !== 'letter';
}

async function openStore(
  t: { teardown: (work: () => unknown) => void },
  server: OpenTestServer,
): Promise<{ url: string; client: Client }> {
  const url = await server.createDatabase();
  const client = await openClient(url);
  t.teardown(() => client.end());
  return { url, client };
}

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

const ABSENT: Record<number, Absent> = {
  1210: 'open',
  1211: 'open',
  1225: 'unfillable',
  1230: 'skipped',
  1240: 'letter',
  1250: 'unnumbered',
};

for (const server of testServers()) {
  void test(`mdp quality on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());

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

    await t.test(
      'by time the range holds every tick of it, also where timestamps go backwards',
      async (s) => {
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
      },
    );

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
}

void test('mdp quality as a program', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const PROGRAM = fileURLToPath(new URL('../../../../../src/run/mdp.ts', import.meta.url));
  const run = async (env: Record<string, string>, ...args: string[]): Promise<Outcome> => {
    const child = spawn(process.execPath, [PROGRAM, 'quality', ...args], { env: { ...process.env, ...env } });
    const outcome = { code: -1, out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (outcome.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (outcome.err += chunk.toString()));
    outcome.code = await new Promise<number>((resolve) => {
      child.on('close', (code) => resolve(code ?? -1));
    });
    return outcome;
  };
  const filled = await server.createDatabase();
  const client = await openClient(filled);
  await storeChain(client);
  await client.end();
  const empty = await server.createDatabase();

  await t.test('READ_DATABASE_URL is preferred; an embedded server will do', async (s) => {
    s.match(await run({ DATABASE_URL: empty, READ_DATABASE_URL: filled }), {
      code: 0,
      out: /good: no problem found/,
      err: '',
    });
    s.match(await run({ DATABASE_URL: filled, READ_DATABASE_URL: '' }, '--json'), {
      code: 0,
      out: /^\{"ok":true,/,
    });
    const inside = await openClient(server.url());
    await inside.query(await schemaSql());
    await storeChain(inside, { 1111: 'open' });
    await inside.end();
    s.match(await run({ DATABASE_URL: `embedded:${server.dataDir}`, READ_DATABASE_URL: '' }), {
      code: 1,
      out: /missing: open gap +1 {2}PROBLEM {2}1111\n/,
      err: 'mdp quality: found missing.open_gap\n',
    });
  });

  await t.test('a store that holds nothing of the range is a failure', async (s) => {
    const env = { DATABASE_URL: empty, READ_DATABASE_URL: '' };
    s.match(await run(env), {
      code: 1,
      out: '',
      err: /^mdp quality: nothing was ever ingested here\. .*\n$/,
    });
    s.match(await run({ ...env, DATABASE_URL: filled }, '--from', '1400'), {
      code: 1,
      out: '',
      err: /^mdp quality: nothing lies between the bounds: ticks 1000 to 1399 are recorded\. .*\n$/,
    });
    s.match(await run({ DATABASE_URL: '', READ_DATABASE_URL: '' }), { code: 1, err: /set DATABASE_URL/ });
  });

  await t.test('a mistake in the command line is 2', async (s) => {
    const env = { DATABASE_URL: filled };
    const mistakes = [
      ['--from', 'yesterday'],
      ['--from', '2025-02-30'],
      ['--from', '1969-12-31'],
      ['--from', '-5'],
      ['--to', '9223372036854775808'],
      ['--from', '20', '--to', '10'],
      ['--from', '2025-08-24', '--to', '2025-08-23'],
      ['--hashes'],
      ['everything'],
    ];
    for (const args of mistakes) s.match(await run(env, ...args), { code: 2, out: '' }, args.join(' '));
  });

  await t.test('the help says what is a problem and what is not', async (s) => {
    const { code, out } = await run({}, '--help');
    s.equal(code, 0);
    s.match(out, /default:/);
    s.match(out, /Example.*:\n {2}\$ mdp quality/);
    s.match(out, /Problems \(exit code 1\): [^]*Information \(exit code 0\): [^]*Exit codes: 0 .* 1 .* 2 /);
  });
});
