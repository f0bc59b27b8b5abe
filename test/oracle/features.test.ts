import { test } from 'tap';
import { featureSet } from '../../src/core/feature/catalogue.ts';
import { doesNotDrift, equalsTheOracle } from '../prove/signals/features.ts';
import { compareRows } from '../support/feature/feature-oracle.ts';
import { noOracle } from '../support/python.ts';
import { seededRandom } from '../support/random.ts';

const random = seededRandom();

void test(
  'every feature is what pandas, numpy and scipy make of the same ticks',
  { skip: noOracle() },
  async (t) => {
    t.comment(`SEED=${random.seed}`);
    const figures = await equalsTheOracle(random, { ticks: 4_000 });
    for (const [name, figure] of Object.entries(figures)) t.comment(`${name}: ${figure}`);
  },
);

void test('what lies behind the windows leaves nothing in them', (t) => {
  doesNotDrift(random, { ticks: 20_000 });
  t.end();
});

void test('a difference, a null and a row of one side alone are seen', (t) => {
  const set = featureSet();
  const row = [1, 0, ...set.names.map(() => 0.5)];
  const changed = (at: number, value: number): number[] => row.with(at, value);
  t.same(compareRows(set, [row], [row])[0], { name: 'vwap', greatest: 0, values: 1, nulls: 0 });
  t.same(compareRows(set, [changed(2, NaN)], [changed(2, NaN)])[0].nulls, 1);
  t.throws(() => compareRows(set, [row], [row, row]), { message: '1 rows are not 2' });
  t.throws(() => compareRows(set, [row], [changed(0, 2)]), { message: /^row 0 is of 1/ });
  t.throws(() => compareRows(set, [row], [changed(2, 0.5 + 1.1e-9)]), { message: /^vwap is 0.5 and not/ });
  t.throws(() => compareRows(set, [row], [changed(4, NaN)]), { message: /^momentum is 0.5 and not NaN/ });
  t.throws(() => compareRows(set, [changed(4, NaN)], [row]), { message: /^momentum is NaN and not/ });
  t.end();
});
