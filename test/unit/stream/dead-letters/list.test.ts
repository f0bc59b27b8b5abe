import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { test } from 'tap';
import type { Delivery } from '../../../../src/bus/bus.ts';
import {
  deadLetterOf,
  encodeDeadLetter,
  type MarketDeadLetter,
} from '../../../../src/core/market/dead-letter.ts';
import { encodeResolution } from '../../../../src/core/market/resolution.ts';
import { deadLetterId } from '../../../../src/core/market/dead-letter.ts';
import { findDeadLetter, listDeadLetters } from '../../../../src/stream/dead-letters/list.ts';
import type { DeadLetterBus, Place } from '../../../../src/stream/dead-letters/topic.ts';

type TopicBus = DeadLetterBus & { compare(a: string, b: string): number };

function letter(
  number: number,
  reason: MarketDeadLetter['reason'] = 'bad_json',
  bytes = 3,
): MarketDeadLetter {
  return deadLetterOf({
    topic: 'mdp.events',
    msgId: String(number),
    group: 'g',
    reason,
    detail: 'd',
    key: null,
    encoding: 'json',
    raw: Buffer.alloc(bytes, number),
    at: BigInt(number),
  });
}

/** A topic whose records are made when they are read. */
function busOf(counts: readonly number[], dataOf: (partition: number, at: number) => Uint8Array): TopicBus {
  const delivery = (partition: number, at: number): Delivery => ({
    topic: 'mdp.events.dlq',
    partition,
    position: String(at + 1),
    takenMs: 0,
    key: null,
    eventId: null,
    encoding: 'json',
    data: dataOf(partition, at),
    attempts: 1,
  });
  const read: DeadLetterBus['read'] = async (_topic, partition, after, limit) => {
    await Promise.resolve();
    const from = Number(after ?? 0);
    const length = Math.max(0, Math.min(limit, counts[partition] - from));
    return Array.from({ length }, (_, index) => delivery(partition, from + index));
  };
  return {
    partitions: () => counts.length,
    read,
    tail: (topic, partition, limit) =>
      read(topic, partition, String(Math.max(0, counts[partition] - limit)), limit),
    compare: (a, b) => Number(a) - Number(b),
  };
}

/** What stands on a topic: a letter, or the resolution of some. */
type Entry = { letter: number } | { resolves: number[] };

const entry: fc.Arbitrary<Entry> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ letter: fc.nat(30) }) },
  { weight: 1, arbitrary: fc.record({ resolves: fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }) }) },
);
const REASONS = ['bad_json', 'conflict'] as const;
const letterOf = (number: number): MarketDeadLetter => letter(number, REASONS[number % 2]);

function bytesOf(each: Entry): Uint8Array {
  if ('letter' in each) return encodeDeadLetter(letterOf(each.letter));
  const deadLetters = each.resolves.map(letterOf).map((of) => ({
    id: deadLetterId(of),
    rawSha256: of.rawSha256,
    msgId: null,
  }));
  return encodeResolution({ by: 'discarded', deadLetters, at: 0n });
}

void test('pages of any size are the list of each once, by its first place, the newest first', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(entry, { maxLength: 80 }), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 12 }),
      fc.constantFrom('open', 'resolved', 'all'),
      fc.option(fc.constantFrom(...REASONS)),
      async (partitions, limit, status, reason) => {
        const bus = busOf(
          partitions.map(({ length }) => length),
          (partition, at) => bytesOf(partitions[partition][at]),
        );
        const entries = partitions.flat();
        const resolved = new Set(entries.flatMap((each) => ('resolves' in each ? each.resolves : [])));
        const expected = [...new Set(entries.flatMap((each) => ('letter' in each ? [each.letter] : [])))]
          .filter((number) => reason === null || REASONS[number % 2] === reason)
          .filter((number) => status === 'all' || resolved.has(number) === (status === 'resolved'))
          .toReversed();
        const seen: number[] = [];
        let before: Place | null = null;
        for (let left = expected.length; ; left -= limit) {
          const page = await listDeadLetters(bus, { status, reason, before, limit });
          t.equal(page.total, Math.max(0, left));
          for (const { msgId, resolved: how } of page.deadLetters) {
            seen.push(Number(msgId));
            t.equal(how !== null, resolved.has(Number(msgId)));
          }
          before = page.deadLetters.at(-1)?.place ?? null;
          if (page.total === page.deadLetters.length) break;
        }
        t.strictSame(seen, expected);
      },
    ),
    { numRuns: 200 },
  );
});

void test('the newest of an id is found, with its bytes', async (t) => {
  const again = { ...letter(7), raw: Buffer.from('new'), rawSha256: 'other' };
  const records = [letter(6), letter(7), again, letter(8)].map(encodeDeadLetter);
  const bus = busOf([records.length], (_, at) => records[at]);
  t.match(await findDeadLetter(bus, 'mdp.events|7'), { rawSha256: 'other', raw: Buffer.from('new') });
  t.equal(await findDeadLetter(bus, 'mdp.events|9'), null);
});

void test('records that are no dead letters are passed over', async (t) => {
  const texts = [
    '',
    'x',
    '[]',
    '{"ver":1}',
    JSON.stringify({
      ver: 1,
      topic: 't',
      reason: 'r',
      raw: '',
      raw_sha256: 's',
      at: '2025-10-31T10:00:00Z',
      raw_bytes: 1.5,
    }),
  ];
  const bus = busOf([texts.length], (_, at) => Buffer.from(texts[at]));
  const page = await listDeadLetters(bus, { status: 'all', reason: null, before: null, limit: 10 });
  t.strictSame(page, { deadLetters: [], total: 0 });
});

void test('a topic of 280 MB is listed in a fraction of that memory', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const count = 300;
  let peak = 0;
  const made = busOf([count], (_, at) => encodeDeadLetter(letter(at, 'bad_json', 700 * 1024)));
  const bus: TopicBus = {
    ...made,
    read: (...asked) => {
      collect();
      const { heapUsed, external } = process.memoryUsage();
      peak = Math.max(peak, heapUsed + external);
      return made.read(...asked);
    },
  };
  collect();
  const { heapUsed, external } = process.memoryUsage();
  const page = await listDeadLetters(bus, { status: 'open', reason: null, before: null, limit: 1000 });
  t.equal(page.total, count);
  t.ok(peak > 0 && peak - heapUsed - external < 100_000_000, `${peak - heapUsed - external} bytes more`);
});

void test('a reading that nobody waits for ends between two pages', async (t) => {
  const gone = new AbortController();
  let pages = 0;
  const made = busOf([1_000], (_, at) => encodeDeadLetter(letter(at)));
  const bus: TopicBus = {
    ...made,
    read: (...asked) => {
      pages += 1;
      if (pages === 3) gone.abort(new Error('gone'));
      return made.read(...asked);
    },
  };
  const query = { status: 'all', reason: null, before: null, limit: 10 } as const;
  await t.rejects(listDeadLetters(bus, query, gone.signal), { message: 'gone' });
  t.equal(pages, 3);
});
