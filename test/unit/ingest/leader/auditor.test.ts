import { createHash } from 'node:crypto';
import { test } from 'tap';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { Auditor, type Audited } from '../../../../src/ingest/leader/auditor.ts';
import type { RepeatedFrame } from '../../../../src/ingest/reader/repeated-frames.ts';
import type { Counterpart, RepeatedDeadLetter } from '../../../../src/store/chain/counterparts.ts';
import type { Replacement } from '../../../../src/store/chain/replace-dead-letter.ts';
import { allTicks, chainSpec, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { malformed, wireTick } from '../../../support/chain/content/wire.ts';

const ticks = allTicks(chainSpec({ seed: 6, txs: 1 }), 20);
const NOW = BigInt(Date.parse('2026-01-01T00:00:00Z')) * 1000n;

interface Opened {
  auditor: Auditor;
  settled: Set<bigint>;
  stored: Map<bigint, Counterpart>;
  results: Audited[];
  letters: RepeatedDeadLetter[];
  /** numbers whose dead letters were to be replaced */
  replaced: bigint[];
  replacement: { is: Replacement };
  forks: string[];
  credits: () => number;
  brake: { open: boolean };
}

function open(): Opened {
  const settled = new Set(ticks.keys());
  const stored = new Map<bigint, Counterpart>();
  for (const [number, tick] of ticks)
    stored.set(number, { tick: decodeTick(wireTick(tick)), deadLetters: [] });
  const results: Audited[] = [];
  const letters: RepeatedDeadLetter[] = [];
  const replaced: bigint[] = [];
  const replacement: { is: Replacement } = { is: { kind: 'stored', deadLetters: 1, brokenLinks: 0 } };
  const forks: string[] = [];
  const brake = { open: true };
  let credits = 0;
  const auditor = new Auditor(
    { audited: (result) => results.push(result) },
    {
      isSettled: (number) => settled.has(number),
      readCounterparts: async (numbers) =>
        new Map([...stored].filter(([number]) => numbers.includes(number))),
      replaceDeadLetter: async (_epoch, _raw, { number }) => {
        replaced.push(number);
        return replacement.is;
      },
      recordDeadLetters: async (_epoch, found) => void letters.push(...found),
      limits: () => ({ nowMicros: NOW, tickMaxBytes: 1 << 20 }),
      admit: () => brake.open,
      credit: () => (credits += 1),
      deadLettersWritten: () => {},
      forked: (reason) => forks.push(reason),
    },
  );
  auditor.start(1n, 1);
  return {
    auditor,
    settled,
    stored,
    results,
    letters,
    replaced,
    replacement,
    forks,
    credits: () => credits,
    brake,
  };
}

async function idle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

function frame(tick: ExpectedTick, ordinal: number, isOwn = false): RepeatedFrame {
  return { number: tick.tickNumber, isOwn, ordinal, bytes: wireTick(tick) };
}

const other = (number: bigint): ExpectedTick => {
  const tick = ticks.get(number)!;
  return { ...tick, timestamp: tick.timestamp + 1n };
};
const bad = (number: bigint, form = 'nul'): Buffer => malformed(ticks.get(number)!, form);
const raw = (number: bigint, bytes: Uint8Array, ordinal: number): RepeatedFrame => ({
  number,
  isOwn: false,
  ordinal,
  bytes,
});
/** the number has nothing but the dead letter of this frame */
const dead = (bytes: Uint8Array, isOpen = true): Counterpart => ({
  tick: null,
  deadLetters: [{ sha256: createHash('sha256').update(bytes).digest(), isOpen }],
});
const digest = (tick: ExpectedTick): string => createHash('sha256').update(wireTick(tick)).digest('hex');

void test('equal frames are counted by their cause, nothing is written', async (t) => {
  const { auditor, results, letters, credits } = open();
  auditor.accept(1, [frame(ticks.get(3n)!, 0), frame(ticks.get(4n)!, 1, true), frame(ticks.get(3n)!, 2)]);
  await idle();
  t.same(results, [{ repeated: 2, resumed: 1, unwanted: 0, replaced: [], bad: [], conflicts: [] }]);
  t.same(letters, []);
  t.equal(credits(), 1);
});

void test('a packet waits until its ticks are committed, and later ones wait behind it', async (t) => {
  const { auditor, settled, results, credits } = open();
  settled.delete(5n);
  auditor.accept(1, [frame(ticks.get(5n)!, 0)]);
  auditor.accept(1, [frame(ticks.get(2n)!, 1)]);
  await idle();
  t.equal(credits(), 0);
  settled.add(5n);
  auditor.advance();
  await idle();
  t.equal(results.length, 2);
  t.equal(credits(), 2);
});

void test('other content is a conflict with both digests and the names of the fields', async (t) => {
  const { auditor, results, letters, forks } = open();
  auditor.accept(1, [frame(other(7n), 0)]);
  await idle();
  const detail = `received ${digest(other(7n))}, stored ${digest(ticks.get(7n)!)}; differs in timestamp`;
  t.match(results[0]?.conflicts, [{ tickNumber: 7n, detail }]);
  t.same(letters, results[0]?.conflicts);
  t.same(Buffer.from(letters[0].raw), wireTick(other(7n)));
  t.equal(Buffer.from(letters[0].storedDigest ?? []).toString('hex'), digest(ticks.get(7n)!));
  t.same(forks, [], 'one alone is no fork');
});

void test('a bad frame of a stored tick is a dead letter of its own reason, and never a fork', async (t) => {
  const { auditor, results, letters, forks } = open();
  const frames = [
    raw(7n, Uint8Array.of(8, 7, 0x12, 0x7f), 0),
    raw(8n, bad(8n), 1),
    raw(9n, bad(9n, 'timestamp'), 2),
    raw(10n, bad(10n, 'sequence'), 3),
  ];
  auditor.accept(1, frames);
  await idle();
  t.same(
    letters.map(({ tickNumber, reason, storedDigest }) => [tickNumber, reason, storedDigest]),
    [
      [7n, 'malformed_frame', null],
      [8n, 'batch_hash_not_hex', null],
      [9n, 'time_out_of_range', null],
      [10n, 'duplicate_sequence', null],
    ],
  );
  t.match(results, [{ repeated: 0, unwanted: 0, conflicts: [] }]);
  t.same(forks, []);
});

void test('three in a row are a fork; a frame of another kind between them breaks the row', async (t) => {
  const { auditor, forks } = open();
  auditor.accept(1, [frame(other(5n), 0), frame(other(6n), 1)]);
  auditor.accept(1, [frame(ticks.get(8n)!, 2), frame(other(9n), 3), frame(other(10n), 4)]);
  auditor.accept(1, [frame(other(12n), 6)]);
  await idle();
  t.same(forks, []);
  auditor.accept(1, [frame(other(13n), 7)]);
  auditor.accept(1, [frame(other(14n), 8)]);
  await idle();
  t.equal(forks.length, 1);
  t.match(forks[0], /3 ticks in a row .* 14: the sequencer has another chain/);
});

void test('a good frame takes the place of dead letters; a bad one is kept beside them', async (t) => {
  const { auditor, stored, results, letters, replaced } = open();
  stored.set(4n, dead(bad(4n)));
  stored.set(5n, dead(bad(5n)));
  stored.set(6n, dead(bad(6n), false)); // resolved, and its tick dropped by retention
  stored.delete(2n); // below the origin, or skipped
  auditor.accept(1, [
    raw(4n, bad(4n), 0),
    frame(ticks.get(4n)!, 1),
    raw(5n, bad(5n, 'tx-hash'), 2),
    frame(ticks.get(6n)!, 3),
    frame(ticks.get(2n)!, 4),
  ]);
  await idle();
  t.same(replaced, [4n]);
  t.match(results, [{ repeated: 1, resumed: 0, unwanted: 2, conflicts: [] }]);
  t.match(results[0].replaced, [{ tickNumber: 4n, transactions: 1, deadLetters: 1 }]);
  t.match(letters, [{ tickNumber: 5n, reason: 'tx_hash_not_hex', storedDigest: null }]);
});

void test('of two good frames the second is equal, or a conflict; what the database refuses is kept once', async (t) => {
  const { auditor, stored, results, letters, replacement } = open();
  stored.set(4n, dead(bad(4n)));
  replacement.is = { kind: 'equal' };
  auditor.accept(1, [frame(ticks.get(4n)!, 0)]);
  await idle();
  const comparison = {
    isEqual: false,
    received: Buffer.alloc(32, 1),
    stored: Buffer.alloc(32, 2),
    fields: ['timestamp'],
  };
  replacement.is = { kind: 'conflict', comparison };
  auditor.accept(1, [frame(other(4n), 1)]);
  await idle();
  replacement.is = { kind: 'refused', sqlstate: '23514', detail: 'no' };
  auditor.accept(1, [frame(ticks.get(4n)!, 2)]);
  await idle();
  stored.set(4n, dead(wireTick(ticks.get(4n)!)));
  auditor.accept(1, [frame(ticks.get(4n)!, 3)]);
  await idle();
  t.match(
    results.map(({ repeated, bad, conflicts }) => [repeated, bad.length, conflicts.length]),
    [
      [1, 0, 0],
      [0, 0, 1],
      [0, 1, 0],
      [1, 0, 0],
    ],
  );
  t.match(letters, [
    { reason: 'conflict' },
    { reason: 'refused_by_database', sqlstate: '23514', detail: 'no' },
  ]);
});

void test('what GetTick answers is stored in the same way; the numbers that are still dead are told', async (t) => {
  const { auditor, stored, results, replaced } = open();
  stored.set(4n, dead(bad(4n)));
  stored.set(5n, dead(bad(5n)));
  stored.set(6n, dead(bad(6n)));
  const frames = [
    { number: 4n, bytes: bad(4n) },
    { number: 5n, bytes: bad(5n, 'tx-hash') },
    { number: 6n, bytes: wireTick(ticks.get(6n)!) },
    { number: 7n, bytes: wireTick(ticks.get(7n)!) },
  ];
  t.same(await auditor.fetched(frames), [4n, 5n]);
  t.same(replaced, [6n]);
  t.match(results, [{ repeated: 0, resumed: 0 }]);
  auditor.stop();
  t.equal(await auditor.fetched(frames), null);
});

void test('at the end everything that can be compared is', async (t) => {
  const { auditor, settled, results } = open();
  settled.delete(5n);
  auditor.accept(1, [frame(ticks.get(5n)!, 0), frame(ticks.get(6n)!, 1)]);
  auditor.accept(1, [frame(ticks.get(7n)!, 2)]);
  await auditor.finish();
  t.match(results, [{ repeated: 1 }, { repeated: 1 }]);
});

void test('nothing is written once the brake is on, and nothing of an earlier run is', async (t) => {
  const { auditor, brake, letters, results, credits } = open();
  brake.open = false;
  auditor.accept(1, [frame(other(4n), 0)]);
  await idle();
  t.same([letters, results, credits()], [[], [], 1]);
  brake.open = true;
  auditor.start(2n, 2);
  auditor.accept(1, [frame(other(4n), 0)]);
  await idle();
  t.same(letters, []);
});
