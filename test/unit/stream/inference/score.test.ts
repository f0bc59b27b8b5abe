import { test } from 'tap';
import { classOfNumber, scoreClassifier, scoreRegression } from '../../../../src/stream/inference/score.ts';

void test('two classes: the higher one is what is predicted', (t) => {
  // scores of class 1: 0.9 (1), 0.4 (1), 0.4 (0), 0.2 (0); of four pairs 3 are in order and one is tied
  const probabilities = [0.1, 0.9, 0.6, 0.4, 0.6, 0.4, 0.8, 0.2];
  const score = scoreClassifier([0, 1], [1, 1, 0, 0], [1, 0, 0, 0], probabilities);
  t.equal(score.rows, 4);
  t.equal(score.accuracy, 0.75);
  t.equal(score.auc, 0.875);
  t.ok(Math.abs(score.brier - (0.01 + 0.36 + 0.16 + 0.04) / 4) < 1e-15);
  t.strictSame(score.perClass, [
    { class: 0, followed: 2, predicted: 3, right: 2 },
    { class: 1, followed: 2, predicted: 1, right: 1 },
  ]);
  // the order in which a model has its classes changes nothing
  const turned = scoreClassifier(
    [1, 0],
    [1, 1, 0, 0],
    [1, 0, 0, 0],
    [0.9, 0.1, 0.4, 0.6, 0.4, 0.6, 0.2, 0.8],
  );
  t.equal(turned.auc, score.auc);
  t.ok(Math.abs(turned.brier - score.brier) < 1e-15);
  t.end();
});

void test('one class alone has no area, an unknown one no score', (t) => {
  t.equal(scoreClassifier([0, 1], [1, 1], [1, 1], [0.2, 0.8, 0.3, 0.7]).auc, null);
  const three = scoreClassifier([-1, 0, 1], [1, 0], [1, 0], [0, 0, 1, 0, 1, 0]);
  t.match(three, { accuracy: 1, auc: 1, brier: 0 }, 'the class that never followed is left out of the mean');
  t.throws(() => scoreClassifier([0, 1], [2], [1], [0.2, 0.8]), { message: '2 is none of the classes 0, 1' });
  t.throws(() => scoreClassifier([0, 1], [], [], []), { message: 'there are no rows to compare' });
  t.end();
});

void test('a regression', (t) => {
  t.strictSame(scoreRegression([1, 2, 3], [1, 2, 3]), { rows: 3, r2: 1, mae: 0 });
  t.strictSame(scoreRegression([1, 2, 3], [2, 2, 2]), { rows: 3, r2: 0, mae: 2 / 3 });
  t.equal(scoreRegression([2, 2], [1, 3]).r2, null);
  t.throws(() => scoreRegression([], []), { message: 'there are no rows to compare' });
  t.end();
});

void test('a number that followed, as a class', (t) => {
  t.strictSame(
    [0.2, 0.1, 0, -0.1, -0.2].map((value) => classOfNumber([-1, 0, 1], value, 0.1)),
    [1, 0, 0, 0, -1],
  );
  t.strictSame(
    [0.2, 0.1, -0.2].map((value) => classOfNumber([1, 0], value, 0.1)),
    [1, 0, 0],
  );
  t.throws(() => classOfNumber([0, 1, 2, 3], 1, 0), { message: /2 or 3 classes, not 4/ });
  t.end();
});
