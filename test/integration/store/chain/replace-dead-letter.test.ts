import assert from 'node:assert/strict';
import type { Client } from 'pg';
import type { Test } from 'tap';
import { transcodeFrame, type TickRows } from '../../../../src/core/copy/frame.ts';
import {
  readCounterparts,
  readDeadNumbers,
  recordDeadLetters,
  type RepeatedDeadLetter,
} from '../../../../src/store/chain/counterparts.ts';
import { mergeLedger } from '../../../../src/store/chain/ledger.ts';
import { replaceDeadLetter } from '../../../../src/store/chain/replace-dead-letter.ts';
import { allTicks, chainSpec, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { compareStored, openClient } from '../../../support/chain/content/oracle.ts';
import { beginChain, storeFrames, TEST_EPOCH } from '../../../support/chain/content/stored-chain.ts';
import { malformed, rewritten, wireTick } from '../../../support/chain/content/wire.ts';
import { deadLetters } from '../../../support/chain/dead-letters.ts';
import { checkInvariants } from '../../../support/chain/invariants.ts';
import { testOnServers } from '../../../support/servers/on-each.ts';
import type { OpenTestServer } from '../../../support/servers/postgres.ts';

const COUNT = 20;
const SPEC = chainSpec({ seed: 61, txs: 2, hostile: true });
const CHAIN = allTicks(SPEC, COUNT);
const LIMITS = { nowMicros: BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n, tickMaxBytes: 1 << 20 };

const tick = (number: bigint): ExpectedTick => CHAIN.get(number)!;

function rowsOf(raw: Uint8Array, number: bigint): TickRows {
  const frame = transcodeFrame(raw, number, LIMITS);
  assert.ok(frame.kind === 'rows');
  return frame;
}

/** Two batches; these ticks are dead letters. */
async function openStore(
  t: Test,
  server: OpenTestServer,
  bad: readonly bigint[],
): Promise<{ url: string; client: Client }> {
  const url = await server.createDatabase();
  const client = await openClient(url);
  t.teardown(() => client.end());
  await beginChain(client, 1n);
  const frames = [...CHAIN.values()].map((one) => ({
    raw: bad.includes(one.tickNumber) ? malformed(one, 'nul') : wireTick(one),
  }));
  await storeFrames(client, 1n, frames.slice(0, 10));
  await storeFrames(client, 11n, frames.slice(10));
  return { url, client };
}

const replace = (client: Client, raw: Uint8Array, number: bigint, epoch = TEST_EPOCH) =>
  replaceDeadLetter(client, epoch, raw, rowsOf(raw, number));

const statuses = async (client: Client): Promise<string[]> =>
  (await deadLetters(client)).map((one) => `${one.tick_number} ${one.reason} ${one.status}`).toSorted();

testOnServers('a good tick in the place of a dead letter', async (t, server) => {
  await t.test('bytes of dead letters are kept whatever a backslash means to the session', async (s) => {
    const client = await openClient(await server.createDatabase());
    s.teardown(() => client.end());
    await beginChain(client, 1n);
    await client.query('SET standard_conforming_strings = off; SET bytea_output = escape');
    const raws = [0xfe, 0x5c, 0x00].map((first) => Buffer.from([first, 0x5c, 0x27, 0x00, 0xff]));
    await storeFrames(
      client,
      1n,
      raws.map((raw) => ({ raw, unnumbered: true })),
    );
    const { rows } = await client.query<{ raw: string }>(
      "SELECT encode(raw, 'hex') AS raw FROM dead_letters ORDER BY dead_letter_id",
    );
    s.same(
      rows.map(({ raw }) => raw),
      raws.map((raw) => raw.toString('hex')),
    );
  });

  await t.test('rows, ledger and dead letters are one transaction; merged ledger or not', async (s) => {
    const { url, client } = await openStore(s, server, [5n, 6n, 20n]);
    s.same(await readDeadNumbers(client, 10), [5n, 6n, 20n]);
    s.same((await readDeadNumbers(client, 2)).length, 2);
    const unstored = await replace(client, wireTick(tick(6n)), 6n);
    s.same(unstored, { kind: 'stored', deadLetters: 1, brokenLinks: 0 });
    await mergeLedger(client, TEST_EPOCH, 20n);
    for (const number of [5n, 20n]) {
      const one = await replace(client, wireTick(tick(number)), number);
      s.same(one, { kind: 'stored', deadLetters: 1, brokenLinks: 0 });
    }
    await compareStored(url, [...CHAIN.values()]);
    await checkInvariants(client, { hashes: true, atRest: true });
    s.same(await readDeadNumbers(client, 10), []);
    const { rows } = await client.query('SELECT ticks, transactions, dead_letters FROM ingest_ledger');
    s.same(rows, [{ ticks: '20', transactions: '40', dead_letters: '0' }]);
  });

  await t.test('what is there already is compared, what is not wanted is not stored', async (s) => {
    const { client } = await openStore(s, server, [5n]);
    s.same(await replace(client, wireTick(tick(7n)), 7n), { kind: 'equal' });
    const other = await replace(client, wireTick(rewritten(tick(7n))), 7n);
    s.match(other, { kind: 'conflict', comparison: { isEqual: false } });
    const beyond = { ...tick(5n), tickNumber: 30n };
    s.same(await replace(client, wireTick(beyond), 30n), { kind: 'unwanted' });
    await s.rejects(replace(client, wireTick(tick(5n)), 5n, TEST_EPOCH + 1n), { code: 'MDF01' });
    await client.query('ALTER TABLE tick_transactions ADD CONSTRAINT no CHECK (tick_number <> 5)');
    s.match(await replace(client, wireTick(tick(5n)), 5n), { kind: 'refused', sqlstate: '23514' });
    await checkInvariants(client, { atRest: true });
    s.same(await statuses(client), ['5 batch_hash_not_hex open']);
    // a link that does not hold is told: 5 continues nothing that is stored
    await client.query('ALTER TABLE tick_transactions DROP CONSTRAINT no');
    const odd = { ...tick(5n), previousOutput: 'ab'.repeat(256) };
    s.match(await replace(client, wireTick(odd), 5n), { kind: 'stored', brokenLinks: 1 });
  });

  await t.test(
    'two at once store once; a dead letter of a stored tick is resolved from the start',
    async (s) => {
      const { url, client } = await openStore(s, server, [5n, 6n]);
      const second = await openClient(url);
      s.teardown(() => second.end());
      const outcomes = await Promise.all([client, second].map((one) => replace(one, wireTick(tick(5n)), 5n)));
      s.same(outcomes.map(({ kind }) => kind).toSorted(), ['equal', 'stored']);
      const letter = (number: bigint, form: string, reason: string): RepeatedDeadLetter => ({
        tickNumber: number,
        reason,
        detail: 'why',
        sqlstate: null,
        raw: malformed(tick(number), form),
        storedDigest: reason === 'conflict' ? Buffer.alloc(32, 1) : null,
      });
      const letters = [
        letter(5n, 'nul', 'batch_hash_not_hex'),
        letter(5n, 'tx-hash', 'tx_hash_not_hex'),
        letter(5n, 'timestamp', 'conflict'),
        letter(6n, 'tx-hash', 'tx_hash_not_hex'),
      ];
      await recordDeadLetters(client, TEST_EPOCH, letters);
      await recordDeadLetters(client, TEST_EPOCH, letters);
      s.same(await statuses(client), [
        '5 batch_hash_not_hex resolved',
        '5 conflict open',
        '5 tx_hash_not_hex resolved',
        '6 batch_hash_not_hex open',
        '6 tx_hash_not_hex open',
      ]);
      await s.rejects(recordDeadLetters(client, TEST_EPOCH + 1n, letters), { code: 'MDF01' });
      const found = await readCounterparts(client, [5n, 6n, 99n]);
      s.same([...found.keys()], [5n, 6n]);
      s.same(
        found.get(6n)?.deadLetters.map(({ isOpen }) => isOpen),
        [true, true],
      );
      s.same(
        found.get(5n)?.deadLetters.map(({ isOpen }) => isOpen),
        [false, false],
      );
      s.match(await replace(client, wireTick(tick(6n)), 6n), { kind: 'stored', deadLetters: 2 });
      await compareStored(url, [...CHAIN.values()]);
      await checkInvariants(client, { hashes: true, atRest: true });
    },
  );
});
