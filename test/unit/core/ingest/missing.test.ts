import fc from 'fast-check';
import { test } from 'tap';
import { explainMissing } from '../../../../src/core/ingest/missing.ts';
import { RangeSet, type TickRange } from '../../../../src/core/ingest/ranges.ts';

const range = fc
  .tuple(fc.bigInt(0n, 60n), fc.bigInt(0n, 8n))
  .map(([first, length]): TickRange => ({ first, last: first + length }));

function numbers(set: RangeSet): bigint[] {
  return set
    .list()
    .flatMap(({ first, last }) =>
      Array.from({ length: Number(last - first) + 1 }, (_, at) => first + BigInt(at)),
    );
}

void test('each missing number goes to the first cause that holds it', async (t) => {
  const causes = ['gap', 'letter', 'beyond'] as const;
  fc.assert(
    fc.property(
      fc.array(range),
      fc.tuple(fc.array(range), fc.array(range), fc.array(range)),
      (missing, held) => {
        const sets = causes.map((cause, at) => [cause, new RangeSet(held[at])] as const);
        const { explained, rest } = explainMissing(new RangeSet(missing).list(), sets);
        const wanted = new Map<string, bigint[]>([...causes, 'rest'].map((name) => [name, []]));
        for (const number of numbers(new RangeSet(missing))) {
          const cause = sets.find(([, set]) => set.has(number))?.[0] ?? 'rest';
          wanted.get(cause)?.push(number);
        }
        for (const cause of causes)
          t.strictSame(numbers(explained.get(cause) ?? new RangeSet()), wanted.get(cause));
        t.strictSame(numbers(rest), wanted.get('rest'));
      },
    ),
  );
});

void test('the ends of the numbers are no matter', async (t) => {
  const all = { first: 0n, last: 2n ** 63n - 1n };
  const { explained, rest } = explainMissing([all], [['gap', new RangeSet([{ first: 5n, last: all.last }])]]);
  t.strictSame(explained.get('gap')?.list(), [{ first: 5n, last: all.last }]);
  t.strictSame(rest.list(), [{ first: 0n, last: 4n }]);
});
