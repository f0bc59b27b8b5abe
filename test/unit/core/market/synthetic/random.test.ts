import { test } from 'tap';
import { Random } from '../../../../../src/core/market/synthetic/random.ts';

const words = (seed: string): number[] => {
  const random = new Random(seed);
  return Array.from({ length: 4 }, () => random.word());
};

void test('a seed gives its numbers, and another seed others', (t) => {
  t.strictSame(words('1'), words('1'));
  t.notSame(words('1'), words('2'));
  t.notSame(words(''), words('0'));
  t.end();
});

void test('the distributions have the mean and the variance that they say', (t) => {
  const random = new Random('moments');
  const count = 400_000;
  const moments = (draw: () => number): [mean: number, variance: number] => {
    let [sum, squares] = [0, 0];
    for (let at = 0; at < count; at += 1) {
      const value = draw();
      sum += value;
      squares += value * value;
    }
    return [sum / count, squares / count - (sum / count) ** 2];
  };
  const near = (found: [number, number], mean: number, variance: number, name: string): void => {
    t.ok(
      Math.abs(found[0] - mean) < 0.01 && Math.abs(found[1] - variance) < 0.02,
      `${name} ${found.join(' ')}`,
    );
  };
  near(
    moments(() => random.unit()),
    0.5,
    1 / 12,
    'unit',
  );
  near(
    moments(() => random.normal()),
    0,
    1,
    'normal',
  );
  near(
    moments(() => random.exponential()),
    1,
    1,
    'exponential',
  );
  near(
    moments(() => random.below(10)),
    4.5,
    8.25,
    'below',
  );
  t.end();
});
