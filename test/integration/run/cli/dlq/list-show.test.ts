import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { ExpectedTransaction } from '../../../../support/chain/content/expected.ts';
import { storeFrames } from '../../../../support/chain/content/stored-chain.ts';
import { wireTick } from '../../../../support/chain/content/wire.ts';
import { testOnServers } from '../../../../support/servers/on-each.ts';
import {
  frame,
  frames,
  insertNumbered,
  insertUnnumbered,
  objects,
  openStore,
  rewritten,
  tick,
} from './store.ts';

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

testOnServers('mdp dlq list and show', async (t, open) => {
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
});
