import { createHash } from 'node:crypto';
import { test } from 'tap';
import { decodeTick } from '../../../../src/core/chain/decode.ts';
import { Auditor, type Audited } from '../../../../src/ingest/leader/auditor.ts';
import type { RepeatedFrame } from '../../../../src/ingest/reader/repeated-frames.ts';
import type { ConflictDeadLetter, Counterpart } from '../../../../src/store/chain/conflicts.ts';
import { allTicks, chainSpec, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';

const ticks = allTicks(chainSpec({ seed: 6, txs: 1 }), 20);

interface Opened {
  auditor: Auditor;
  settled: Set<bigint>;
  stored: Map<bigint, Counterpart>;
  results: Audited[];
  letters: ConflictDeadLetter[];
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
  const letters: ConflictDeadLetter[] = [];
  const forks: string[] = [];
  const brake = { open: true };
  let credits = 0;
  const auditor = new Auditor(
    { audited: (result) => results.push(result) },
    {
      isSettled: (number) => settled.has(number),
      readCounterparts: async (numbers) =>
        new Map([...stored].filter(([number]) => numbers.includes(number))),
      recordConflicts: async (_epoch, found) => void letters.push(...found),
      admit: () => brake.open,
      credit: () => (credits += 1),
      deadLettersWritten: () => {},
      forked: (reason) => forks.push(reason),
    },
  );
  auditor.start(1n, 1);
  return { auditor, settled, stored, results, letters, forks, credits: () => credits, brake };
}

async function idle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

function frame(tick: ExpectedTick, ordinal: number, isOwn = false): RepeatedFrame {
  return { number: tick.tickNumber, isOwn, ordinal, bytes: wireTick(tick) };
}

const other = (number: bigint): ExpectedTick => ({ ...ticks.get(number)!, timestamp: 1n });
const digest = (tick: ExpectedTick): string => createHash('sha256').update(wireTick(tick)).digest('hex');

void test('equal frames are counted by their cause, nothing is written', async (t) => {
  const { auditor, results, letters, credits } = open();
  auditor.accept(1, [frame(ticks.get(3n)!, 0), frame(ticks.get(4n)!, 1, true), frame(ticks.get(3n)!, 2)]);
  await idle();
  t.same(results, [{ repeated: 2, resumed: 1, unwanted: 0, conflicts: [] }]);
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
  t.same(results[0]?.conflicts, [{ tickNumber: 7n, detail }]);
  t.equal(letters.length, 1);
  t.same(Buffer.from(letters[0].raw), wireTick(other(7n)));
  t.equal(Buffer.from(letters[0].storedDigest).toString('hex'), digest(ticks.get(7n)!));
  t.same(forks, [], 'one alone is no fork');
});

void test('bytes that do not decode are a conflict as well', async (t) => {
  const { auditor, letters } = open();
  auditor.accept(1, [{ number: 7n, isOwn: false, ordinal: 0, bytes: Uint8Array.of(8, 7, 0x12, 0x7f) }]);
  await idle();
  t.equal(letters.length, 1);
  t.match(letters[0]?.detail, /does not decode/);
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

void test('what became a dead letter is compared with that', async (t) => {
  const { auditor, stored, results, letters } = open();
  const bad = wireTick(other(4n));
  stored.set(4n, { tick: null, deadLetters: [createHash('sha256').update(bad).digest()] });
  stored.delete(2n); // below the origin, or skipped
  auditor.accept(1, [frame(other(4n), 0), frame(ticks.get(4n)!, 2), frame(ticks.get(2n)!, 4)]);
  await idle();
  t.match(results, [{ repeated: 1, resumed: 0, unwanted: 1, conflicts: [{ tickNumber: 4n }] }]);
  t.equal(letters.length, 1);
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
