import fc from 'fast-check';
import { test } from 'tap';
import type { TickRange } from '../../../../src/core/ingest/ranges.ts';
import { explainMissing, type KnownHoles } from '../../../../src/core/chain/missing.ts';

void test('each missing number has one reason, the first that fits', async (t) => {
  const known: KnownHoles = {
    gaps: [
      { first: 5n, last: 9n, state: 'unfillable' },
      { first: 8n, last: 12n, state: 'open' },
      { first: 30n, last: 30n, state: 'skipped' },
    ],
    deadLetters: [12n, 14n, 40n],
    position: 50n,
  };
  const missing = [
    { first: 1n, last: 14n },
    { first: 30n, last: 31n },
    { first: 49n, last: 60n },
  ];
  t.strictSame(
    explainMissing(missing, known).map(({ first, last, reason }) => `${first}..${last} ${reason}`),
    [
      '1..4 unexplained',
      '5..7 unfillable_gap',
      '8..12 open_gap',
      '13..13 unexplained',
      '14..14 dead_letter',
      '30..30 skipped_gap',
      '31..31 unexplained',
      '49..50 unexplained',
      '51..60 not_received',
    ],
  );
  t.strictSame(explainMissing([], known), []);
});

const RANGES = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 16 })
  .map((numbers) => numbers.sort((a, b) => a - b))
  .map((numbers) =>
    Array.from({ length: Math.floor(numbers.length / 2) }, (_, i) => ({
      first: BigInt(numbers[2 * i]),
      last: BigInt(numbers[2 * i + 1]),
    })),
  );

function within(n: bigint, ranges: readonly TickRange[]): boolean {
  return ranges.some(({ first, last }) => first <= n && n <= last);
}

void test('cutting loses no number and doubles none', async () => {
  fc.assert(
    fc.property(RANGES, RANGES, RANGES, fc.option(fc.bigInt(0n, 60n)), (missing, open, skipped, position) => {
      const known: KnownHoles = {
        gaps: [
          ...open.map((range) => ({ ...range, state: 'open' as const })),
          ...skipped.map((range) => ({ ...range, state: 'skipped' as const })),
        ],
        deadLetters: [3n, 17n, 18n],
        position,
      };
      const reasons = new Map<bigint, string>();
      for (const { first, last, reason } of explainMissing(missing, known)) {
        for (let n = first; n <= last; n++) {
          if (reasons.has(n)) return false;
          reasons.set(n, reason);
        }
      }
      for (let n = 0n; n <= 60n; n++) {
        const reason = !within(n, missing)
          ? undefined
          : within(n, open)
            ? 'open_gap'
            : within(n, skipped)
              ? 'skipped_gap'
              : known.deadLetters.includes(n)
                ? 'dead_letter'
                : position !== null && n > position
                  ? 'not_received'
                  : 'unexplained';
        if (reasons.get(n) !== reason) return false;
      }
      return true;
    }),
  );
});
