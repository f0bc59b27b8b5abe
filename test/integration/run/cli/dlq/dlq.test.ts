import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import { test, type Test } from 'tap';
import { registerDlq } from '../../../../../src/run/cli/dlq/dlq.ts';
import { mergeLedger } from '../../../../../src/store/chain/ledger.ts';
import { runInProcess, type Outcome } from '../../../../support/run/command-in-process.ts';
import {
  batchHashOf,
  chainSpec,
  expectedTicks,
  vdfInputOf,
  vdfOutputOf,
  type ExpectedTick,
  type ExpectedTransaction,
} from '../../../../support/chain/content/expected.ts';
import { checkInvariants } from '../../../../support/chain/invariants.ts';
import { compareStored, openClient } from '../../../../support/chain/content/oracle.ts';
import { testServers, type OpenTestServer } from '../../../../support/servers/postgres.ts';
import {
  beginChain,
  storeFrames,
  TEST_EPOCH,
  type StoredFrame,
} from '../../../../support/chain/content/stored-chain.ts';
import { until } from '../../../../support/until.ts';
import { malformed, wireTick } from '../../../../support/chain/content/wire.ts';

const NOW = BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n;
const SPEC = chainSpec({ seed: 41, txs: 2, hostile: true });
const COUNT = 40;
const CHAIN = [...expectedTicks(SPEC, COUNT)];

interface Store {
  url: string;
  client: Client;
  dlq(...args: string[]): Promise<Outcome>;
  /** the same with another TICK_MAX_BYTES, or at another time */
  dlqWith(settings: { tickBytesMax?: number; nowMicros?: bigint }, ...args: string[]): Promise<Outcome>;
  /** ids of dead letters by the number they stand for */
  ids(): Promise<Map<number, string>>;
}

function tick(number: number): ExpectedTick {
  const found = CHAIN[number - 1];
  assert.ok(found !== undefined && found.tickNumber === BigInt(number));
  return found;
}

function frame(number: number, form?: string): StoredFrame {
  return { raw: form === undefined ? wireTick(tick(number)) : malformed(tick(number), form) };
}

/** Ticks first to last; those named in `bad` in another form. */
function frames(first: number, last: number, bad: Record<number, StoredFrame> = {}): StoredFrame[] {
  return Array.from({ length: last - first + 1 }, (_, at) => bad[first + at] ?? frame(first + at));
}

async function openStore(t: Test, server: OpenTestServer): Promise<Store> {
  const url = await server.createDatabase();
  const client = await openClient(url);
  t.teardown(() => client.end());
  await beginChain(client, 1n);
  const dlqWith: Store['dlqWith'] = ({ tickBytesMax = 4 * 2 ** 20, nowMicros = NOW }, ...args) => {
    const clock = { nowMicros: () => nowMicros, monotonicMs: () => 0 };
    const env = { databaseUrl: url, tickBytesMax: () => tickBytesMax, clock };
    return runInProcess((program) => registerDlq(program, env), 'dlq', ...args);
  };
  return {
    url,
    client,
    dlqWith,
    dlq: (...args) => dlqWith({}, ...args),
    async ids() {
      const { rows } = await client.query<{ id: string; n: string }>(
        'SELECT dead_letter_id AS id, coalesce(after_tick + 1, tick_number) AS n FROM dead_letters',
      );
      return new Map(rows.map(({ id, n }) => [Number(n), id]));
    },
  };
}

/** A frame without a usable number, as an earlier version of the program kept it. */
async function insertUnnumbered(client: Client, raw: Uint8Array, afterTick: number): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO dead_letters (after_tick, reason, detail, raw, raw_sha256)
     VALUES ($1, 'malformed_frame', 'an earlier version could not read it', $2, sha256($2)) RETURNING dead_letter_id AS id`,
    [afterTick, raw],
  );
  return rows[0]?.id ?? '';
}

async function insertNumbered(
  client: Client,
  raw: Uint8Array,
  number: number,
  reason: string,
): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO dead_letters (tick_number, reason, detail, sqlstate, raw, raw_sha256, stored_sha256)
     VALUES ($1, $3, 'put here by a test', $4, $2, sha256($2), $5) RETURNING dead_letter_id AS id`,
    [
      number,
      raw,
      reason,
      reason === 'refused_by_database' ? '22021' : null,
      reason === 'conflict' ? Buffer.alloc(32, 7) : null,
    ],
  );
  return rows[0]?.id ?? '';
}

/** A tick that says something else under the same number, all hashes right. */
function rewritten(number: number): ExpectedTick {
  const original = tick(number);
  const [first, ...others] = original.transactions;
  assert.ok(first !== undefined);
  const transactions = others;
  const batchHash = batchHashOf(transactions);
  const input = vdfInputOf(original.previousOutput, batchHash, original.tickNumber);
  return { ...original, transactions, batchHash, input, output: vdfOutputOf(input, 0n) };
}

/** By the fields of the recomputation. */
function differingNames(a: ExpectedTransaction | undefined, b: ExpectedTransaction | undefined): string[] {
  assert.ok(a !== undefined && b !== undefined);
  const fields: [string, keyof ExpectedTransaction][] = [
    ['sequence_number', 'sequenceNumber'],
    ['tx_hash', 'txHash'],
    ['ingestion_timestamp', 'ingestionTimestamp'],
    ['tx_id', 'txId'],
    ['payload', 'payload'],
    ['signature', 'signature'],
    ['public_key', 'publicKey'],
    ['nonce', 'nonce'],
    ['timestamp', 'timestamp'],
  ];
  return fields
    .filter(([, key]) => String(a[key]) !== String(b[key]))
    .map(([name]) => `transactions[0].${name}`);
}

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

/** The leader's housekeeping without a pause. */
async function mergeUntil(signal: AbortSignal, client: Client): Promise<void> {
  for (let upTo = 8n; !signal.aborted; upTo = (upTo % BigInt(COUNT)) + 4n) {
    await mergeLedger(client, TEST_EPOCH, upTo);
  }
}

function objects(out: string): Record<string, unknown>[] {
  return out
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

for (const server of testServers()) {
  void test(`mdp dlq on the ${server.name} server`, { skip: server.skip }, async (t) => {
    const open = await server.open();
    t.teardown(() => open.close());

    await t.test('list shows, selects and counts', async (s) => {
      const store = await openStore(s, open);
      s.match(await store.dlq('list'), { code: 0, out: '0 open dead letters\n', err: '' });
      s.equal((await store.dlq('list', '--json')).out, '');
      const bad = { 3: frame(3, 'batch-hash'), 5: frame(5, 'sequence'), 7: frame(7, 'batch-hash') };
      await storeFrames(store.client, 1n, frames(1, 10, bad));
      await insertUnnumbered(store.client, Buffer.from([0x7f]), 10);
      const evil = await insertNumbered(store.client, Buffer.from('x'), 4, 'refused_by_database');
      await store.client.query('UPDATE dead_letters SET detail = $1 WHERE dead_letter_id = $2', [
        'a\u001b[31m\nb\u202e',
        evil,
      ]);
      const all = await store.dlq('list');
      s.equal(all.code, 0);
      const lines = all.out.split('\n');
      s.match(lines[0], /^\s*id {2}source +tick {2}reason +sqlstate +bytes {2}status {2}created +detail$/);
      s.match(lines[1], /refused_by_database {2}22021 .* a\\x1b\[31m\\x0ab\\u202e$/);
      s.match(lines[2], /^ 4 {2}chain {3}after 10 {2}malformed_frame +1 {2}open /);
      s.match(lines[3], /^ 3 {2}chain {10}7 {2}batch_hash_not_hex /);
      s.equal(lines[6], '5 open dead letters');
      s.match(await store.dlq('list', '--limit', '2'), {
        out: /^5 open dead letters, the newest 2 shown \(--limit 0 shows all\)$/m,
      });
      s.match(await store.dlq('list', '--reason', 'duplicate_sequence'), { out: /^1 open dead letter$/m });
      const reasons = async (...args: string[]): Promise<unknown[]> =>
        objects((await store.dlq('list', '--json', ...args)).out).map(({ tick_number, after_tick }) => [
          tick_number,
          after_tick,
        ]);
      s.same(await reasons('--from', '4', '--to', '6'), [
        ['4', null],
        ['5', null],
      ]);
      s.same(await reasons('--from', '11', '--to', '11'), [[null, '10']]);
      s.same(await reasons('--from', '12'), []);
      s.same(await reasons('--limit', '0', '--to', '5'), [
        ['4', null],
        ['5', null],
        ['3', null],
      ]);
      await store.client.query(
        "UPDATE dead_letters SET status = 'resolved', resolved_at = '2026-01-02T03:04:05.000006Z' WHERE tick_number = 5",
      );
      s.match(await store.dlq('list', '--status', 'resolved'), { out: /^1 resolved dead letter$/m });
      s.match(await store.dlq('list', '--status', 'all'), { out: /^5 dead letters$/m });
      s.match(await store.dlq('list', '--status', 'open'), { out: /^4 open dead letters$/m });
      const [json] = objects((await store.dlq('list', '--status', 'resolved', '--json')).out);
      const raw = frame(5, 'sequence').raw;
      s.match(json, {
        source: 'chain',
        tick_number: '5',
        after_tick: null,
        reason: 'duplicate_sequence',
        detail: /^sequence_number 5\d+ stands in/,
        sqlstate: null,
        bytes: raw.length,
        status: 'resolved',
        created_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
        resolved_at: '2026-01-02T03:04:05.000006Z',
      });
      s.type(json?.['id'], 'number');
    });

    await t.test('show tells everything about a letter', async (s) => {
      const store = await openStore(s, open);
      await storeFrames(store.client, 1n, frames(1, 10, { 3: frame(3, 'batch-hash') }));
      const id = (await store.ids()).get(3) ?? '';
      const raw = Buffer.from(frame(3, 'batch-hash').raw);
      const { code, out } = await store.dlq('show', id);
      s.equal(code, 0);
      s.match(
        out,
        new RegExp(`^dead letter ${id}\n {2}source +chain\n {2}tick +3\n {2}reason +batch_hash_not_hex\n`),
      );
      s.match(out, new RegExp(`sha256 +${createHash('sha256').update(raw).digest('hex')}`));
      s.match(out, /"transaction_batch_hash": "z{64}"/);
      const [json] = objects((await store.dlq('show', id, '--json')).out);
      s.match(json, {
        reason: 'batch_hash_not_hex',
        raw_sha256: createHash('sha256').update(raw).digest('hex'),
        stored_sha256: null,
        frame: {
          tick_number: '3',
          transaction_batch_hash: 'z'.repeat(64),
          previous_output: tick(3).previousOutput,
        },
        frame_error: null,
        stored: null,
        differs: [],
      });
      const file = `${s.testdir()}/frame.bin`;
      s.match(await store.dlq('show', id, '--raw', file), {
        out: new RegExp(`${raw.length} bytes written to`),
      });
      s.ok((await readFile(file)).equals(raw), 'the exact bytes');
      s.equal((await stat(file)).mode & 0o777, 0o600);

      const noise = Buffer.concat([Buffer.from([0x7f]), Buffer.from('<\u0000noise>'), Buffer.alloc(400, 1)]);
      const unnumbered = await insertUnnumbered(store.client, noise, 8);
      const dump = await store.dlq('show', unnumbered);
      s.match(dump.out, / {2}tick +after 8\n/);
      s.match(dump.out, /^The frame does not decode: .* at byte \d+\.$/m);
      s.match(dump.out, /^00000000 {2}7f 3c 00 6e 6f 69 73 65 3e 01 01 01 01 01 01 01 {2}\.<\.noise>\.{7}$/m);
      s.match(dump.out, /^… 153 bytes more \(--raw FILE writes all\)$/m);
      s.match(objects((await store.dlq('show', unnumbered, '--json')).out), [
        { frame: null, frame_digest: null, frame_error: /at byte/ },
      ]);
      const empty = await insertNumbered(store.client, Buffer.alloc(0), 3, 'too_large');
      s.match(await store.dlq('show', empty), { code: 0, out: /bytes +0\n/ });
      s.match(await store.dlq('show', '4711'), {
        code: 1,
        out: '',
        err: 'mdp dlq show: there is no dead letter 4711. "mdp dlq list --status all" shows which there are\n',
      });
    });

    await t.test('show puts a conflict beside what is stored', async (s) => {
      const store = await openStore(s, open);
      await storeFrames(store.client, 1n, frames(1, 10));
      const id = await insertNumbered(store.client, wireTick(rewritten(6)), 6, 'conflict');
      const { out } = await store.dlq('show', id);
      const [json] = objects((await store.dlq('show', id, '--json')).out);
      const { frame_digest: ours, stored_digest: now } = json as Record<string, string>;
      assert.match(ours, /^[0-9a-f]{64}$/);
      // wireTick() writes the canonical form, so its digest is one of the bytes
      s.equal(
        ours,
        createHash('sha256')
          .update(wireTick(rewritten(6)))
          .digest('hex'),
      );
      s.equal(
        now,
        createHash('sha256')
          .update(wireTick(tick(6)))
          .digest('hex'),
      );
      s.match(out, new RegExp(`digest of the frame +${ours}\n`));
      s.match(out, new RegExp(`digest stored then +${'07'.repeat(32)}\n`));
      s.match(out, new RegExp(`digest stored now +${now}\n`));
      s.match(out, /^field +frame +stored$/m);
      s.match(out, /^transactions +1 of them +2 of them$/m);
      s.match(
        out,
        new RegExp(
          `^transaction_batch_hash +${rewritten(6).batchHash.slice(0, 20)}.* ${tick(6).batchHash.slice(0, 20)}`,
          'm',
        ),
      );
      s.same(json?.['differs'], [
        'transaction_batch_hash',
        'vdf_proof.input',
        'vdf_proof.output',
        'transactions',
        ...differingNames(rewritten(6).transactions[0], tick(6).transactions[0]),
      ]);
    });

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

    await t.test('a rule that depends on the clock is asked again', async (s) => {
      const store = await openStore(s, open);
      const future = { ...tick(5), timestamp: NOW + 3n * 86_400_000_000n };
      await storeFrames(store.client, 1n, frames(1, 9, { 5: { raw: wireTick(future) } }));
      const early = await store.dlq('retry', '--all', '--json');
      s.equal(early.code, 1);
      s.match(objects(early.out), [{ outcome: 'bad', done: false, reason: 'time_out_of_range' }]);
      const later = await store.dlqWith({ nowMicros: future.timestamp }, 'retry', '--all', '--json');
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
}

const PROGRAM = fileURLToPath(new URL('../../../../../src/run/mdp.ts', import.meta.url));

function startMdp(databaseUrl: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, [PROGRAM, ...args], {
    env: { ...process.env, DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function runMdp(databaseUrl: string, ...args: string[]): Promise<Outcome & { bytes: Buffer }> {
  const child = startMdp(databaseUrl, ...args);
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  const code = await new Promise<number>((resolve) => {
    child.on('close', (status) => resolve(status ?? -1));
  });
  const bytes = Buffer.concat(out);
  return { code, bytes, out: bytes.toString(), err: Buffer.concat(err).toString() };
}

void test('mdp dlq as a program', async (t) => {
  const [server] = testServers();
  assert.ok(server !== undefined);
  const open = await server.open();
  t.teardown(() => open.close());
  const store = await openStore(t, open);
  const noise = Buffer.from(Array.from({ length: 512 }, (_, at) => at % 256));
  const id = await insertUnnumbered(store.client, noise, 8);

  await t.test('--raw - writes the bytes and nothing else', async (s) => {
    const { code, bytes, err } = await runMdp(store.url, 'dlq', 'show', id, '--raw', '-');
    s.same({ code, err }, { code: 0, err: '' });
    s.ok(bytes.equals(noise));
  });

  await t.test('a mistake in the command line is 2, a failure 1', async (s) => {
    const mistakes = [
      ['dlq'],
      ['dlq', 'bury'],
      ['dlq', 'list', '--status', 'lost'],
      ['dlq', 'list', '--from', '-1'],
      ['dlq', 'list', '--limit', '1.5'],
      ['dlq', 'show'],
      ['dlq', 'show', 'first'],
      ['dlq', 'show', id, '--raw', '-', '--json'],
      ['dlq', 'retry'],
      ['dlq', 'retry', id, '--all'],
      ['dlq', 'retry', '--all', '--reason', 'conflict'],
      ['dlq', 'retry', '9223372036854775808'],
    ];
    for (const args of mistakes) s.equal((await runMdp(store.url, ...args)).code, 2, args.join(' '));
    s.match(await runMdp('', 'dlq', 'list'), {
      code: 1,
      out: '',
      err: /^mdp dlq list: no database: set DATABASE_URL/,
    });
    const empty = await open.createDatabase({ schema: false });
    s.match(await runMdp(empty, 'dlq', 'list'), { code: 1, err: /Run first: mdp db migrate\n$/ });
    s.match(await runMdp(store.url, 'dlq', 'retry', id), { code: 1, err: /1 of 1 not resolved/ });
  });

  await t.test('each help names options, defaults and an example', async (s) => {
    for (const name of ['list', 'show', 'retry']) {
      const { code, out } = await runMdp(store.url, 'dlq', name, '--help');
      s.equal(code, 0);
      s.match(out, /default:/);
      s.match(out, /Example:\n {2}\$ .*mdp dlq/);
      s.match(out, /Exit codes: 0 .* 1 .* 2 /);
      s.match(out, /DATABASE_URL/);
    }
  });
});
