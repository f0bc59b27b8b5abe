import { test } from 'tap';
import { explainHoles, type KnownHoles } from '../../../../../src/core/chain/verify/holes.ts';

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
    explainHoles(missing, known).map(({ first, last, cause }) => `${first}..${last} ${cause}`),
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
  t.strictSame(explainHoles([], known), []);
});

void test('without a position nothing is beyond it', async (t) => {
  const known: KnownHoles = { gaps: [], deadLetters: [3n], position: null };
  t.strictSame(explainHoles([{ first: 3n, last: 2n ** 63n - 1n }], known), [
    { first: 3n, last: 3n, cause: 'dead_letter' },
    { first: 4n, last: 2n ** 63n - 1n, cause: 'unexplained' },
  ]);
});
