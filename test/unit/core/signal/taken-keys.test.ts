import fc from 'fast-check';
import { test } from 'tap';
import { StateIn, StateOut } from '../../../../src/core/feature/series/state.ts';
import { blockHas, keysOf, TakenKeys, type KeyBlock } from '../../../../src/core/signal/taken-keys.ts';

interface Key {
  tsUs: number;
  seq: bigint;
}

const START_US = 1_700_000_000_000_000;
const SEQ_MAX = 2n ** 63n - 1n;

/** In the order of (tsUs, seq), several of one time among them. */
const ordered: fc.Arbitrary<Key[]> = fc
  .array(
    fc.record({
      stepUs: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(10_000_000), fc.nat(10 ** 12)),
      seq: fc.oneof(fc.bigInt(0n, 5n), fc.bigInt(0n, SEQ_MAX), fc.constant(SEQ_MAX)),
    }),
    { minLength: 1, maxLength: 1_500, size: 'max' },
  )
  .map((steps) => {
    let tsUs = START_US;
    const keys = steps.map(({ stepUs, seq }) => ({ tsUs: (tsUs += stepUs), seq }));
    keys.sort((a, b) => a.tsUs - b.tsUs || (a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0));
    return keys.filter(({ tsUs: us, seq }, at) => keys[at - 1]?.tsUs !== us || keys[at - 1].seq !== seq);
  });

function added(keys: readonly Key[], taken = new TakenKeys(true)): TakenKeys {
  for (const { tsUs, seq } of keys) taken.add(tsUs, seq);
  return taken;
}

function restarted(taken: TakenKeys): TakenKeys {
  const out = new StateOut();
  taken.save(out);
  const loaded = new TakenKeys(true);
  const state = new StateIn(out.bytes());
  loaded.load(state);
  if (!state.isAtEnd) throw new Error('there is more');
  return loaded;
}

/** As readStoredKeys finds it. */
function isStored(blocks: readonly KeyBlock[], { tsUs, seq }: Key): boolean {
  const block = blocks.find(({ lastUs }) => lastUs >= tsUs);
  return block !== undefined && blockHas(block.keys, tsUs, seq);
}

function isEveryKnown(keys: readonly Key[], taken: TakenKeys, stored: readonly KeyBlock[]): boolean {
  return keys.every((key) => taken.has(key.tsUs, key.seq) || isStored(stored, key));
}

void test('every key is known once and for ever, here or in the one block that can have it, and no other is', (t) => {
  fc.assert(
    fc.property(ordered, fc.array(fc.nat(), { maxLength: 6 }), (keys, cuts) => {
      const stored: KeyBlock[] = [];
      let taken = new TakenKeys(true);
      let from = 0;
      for (const end of [...cuts.map((cut) => cut % (keys.length + 1)), keys.length].sort((a, b) => a - b)) {
        added(keys.slice(from, end), taken);
        from = end;
        t.ok(isEveryKnown(keys.slice(0, end), taken, stored), 'before a checkpoint');
        const blocks = taken.take();
        // the checkpoint is under way
        t.ok(isEveryKnown(keys.slice(0, end), taken, stored), 'during it');
        stored.push(...blocks);
        taken = restarted(taken);
      }
      const known = new Set(keys.map(({ tsUs, seq }) => `${tsUs}|${seq}`));
      const others = keys
        .flatMap(({ tsUs, seq }) => [
          { tsUs: tsUs + 1, seq },
          { tsUs: tsUs - 1, seq },
          { tsUs, seq: seq ^ 1n },
        ])
        .filter(({ tsUs, seq }) => !known.has(`${tsUs}|${seq}`));
      t.notOk(others.some((other) => isEveryKnown([other], taken, stored)));
      t.strictSame(
        stored.map(({ lastUs }) => lastUs),
        [...new Set(stored.map(({ lastUs }) => lastUs))].sort((a, b) => a - b),
        'each ends at another time',
      );
    }),
    { numRuns: 8 },
  );
  t.end();
});

void test('a block reads as it was written, in a few bytes a key', (t) => {
  const keys = Array.from({ length: 2_000 }, (_, at) => ({ tsUs: START_US + at * 20_000, seq: BigInt(at) }));
  const blocks = added(keys).take();
  const read = blocks.flatMap((block) => [...keysOf(block.keys)]);
  t.equal(blocks.length, 3);
  t.strictSame(read, keys.slice(0, read.length));
  t.ok(keys.length - read.length < 600, 'the rest is in the state');
  const bytes = blocks.reduce((sum, block) => sum + block.keys.length, 0);
  t.ok(bytes / read.length < 5, `${bytes / read.length}`);
  t.end();
});

void test('of a replay the newest are known, and none are stored', (t) => {
  const keys = Array.from({ length: 5_000 }, (_, at) => ({ tsUs: START_US + at, seq: 0n }));
  const taken = added(keys, new TakenKeys(false));
  t.strictSame(taken.take(), []);
  t.ok(taken.has(START_US + 4_999, 0n));
  t.notOk(taken.has(START_US, 0n));
  t.end();
});
