import { test } from 'tap';
import type { FeatureRow, Signal } from '../../../../src/core/signal/signal.ts';
import { FollowedEvaluator } from '../../../../src/stream/inference/followed.ts';
import { TestMeter } from '../../../support/bus/meter.ts';

const LABEL = { name: 'ret@+4s', feature: 0, afterUs: 4_000_000 };
const NO_FACTS = { get: () => [], set: () => {} };

const classOf = (followed: number): number => (followed > 0 ? 1 : -1);

function row(second: number, followed: number, symbol = 'A'): FeatureRow {
  const values = Float64Array.of(followed);
  return { runId: 0n, provider: 'p', symbol, tsUs: second * 1e6, price: 1, values, isQuoted: false };
}

/** Says 1 at each row, as version `model`; null: as rules do. */
function saying(value: number, model: string | null) {
  const evaluate = (rows: readonly FeatureRow[]): Signal[] =>
    rows.map(({ runId, provider, symbol, tsUs, price }) => {
      const key = { runId, provider, symbol, tsUs };
      return { ...key, price, name: 'up', value, score: null, window: '2s', modelVersion: model };
    });
  return { adapter: 'onnx', evaluate };
}

void test('predictions of classes are counted by what followed', async (t) => {
  const meter = new TestMeter();
  const followed = new FollowedEvaluator({ evaluator: saying(1, 'v1'), label: LABEL, classOf, meter });
  const counts = (): (number | undefined)[] =>
    ['right', 'wrong', 'unknown'].map((outcome) =>
      meter.values.get(`model_predictions_followed_total{adapter=onnx,outcome=${outcome}}`),
    );
  const signals = await followed.evaluate([row(2, 9), row(4, 9), row(6, 0.5)], NO_FACTS);
  t.equal(signals.length, 3, 'they pass');
  t.strictSame(counts(), [1, 0, 0], 'that of second 2, in second 6');
  await followed.evaluate([row(6, -1, 'B'), row(8, -0.5)], NO_FACTS);
  t.strictSame(counts(), [1, 1, 0], 'that of second 4; of another symbol nothing is due');
  await followed.evaluate([row(14, 1)], NO_FACTS);
  t.strictSame(counts(), [1, 1, 2], 'seconds 10 and 12 had no tick');
  await followed.evaluate([row(18, NaN)], NO_FACTS);
  t.strictSame(counts(), [1, 1, 3], 'no value followed');
});

void test('a prediction of a number has an error; what rules say is no prediction', async (t) => {
  const meter = new TestMeter();
  const of = (model: string | null): FollowedEvaluator =>
    new FollowedEvaluator({ evaluator: saying(0.25, model), label: LABEL, classOf: () => null, meter });
  await of(null).evaluate([row(2, 0), row(6, 0)], NO_FACTS);
  const error = (): number | undefined => meter.values.get('model_absolute_error{name=up}');
  t.equal(error(), undefined);
  await of('v1').evaluate([row(2, 0), row(6, 1)], NO_FACTS);
  t.equal(error(), 0.75);
});
