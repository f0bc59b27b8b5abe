import { test, type Test } from 'tap';
import type { FeatureRow, Signal } from '../../../../../src/core/signal/signal.ts';
import { ModelEvaluator } from '../../../../../src/stream/inference/model/evaluator.ts';
import type { ModelPool, Prediction } from '../../../../../src/stream/inference/model/pool.ts';
import { PredictionError } from '../../../../../src/stream/inference/model/prediction.ts';
import type { Evaluator, Facts } from '../../../../../src/stream/signals/evaluator.ts';
import { TestMeter } from '../../../../support/bus/meter.ts';
import { until } from '../../../../support/until.ts';

const MODEL = { name: 'ml', version: '7' } as Prediction['model'];
const RESET_MS = 100;
const KEY = { runId: 0n, provider: 'p', tsUs: 2_000_000, price: 10 };
const FACTS: Facts = { get: () => [], set: () => {} };

const row = (symbol: string, value: number): FeatureRow => ({
  ...KEY,
  symbol,
  values: Float64Array.of(value),
  isQuoted: false,
});
const signal = (symbol: string, of: Partial<Signal>): Signal => ({
  ...KEY,
  symbol,
  name: 'ml',
  value: 1,
  score: 0.9,
  window: '2s',
  modelVersion: '7',
  ...of,
});
const ofRules = ({ symbol }: FeatureRow): Signal =>
  signal(symbol, { name: 'rule', value: -1, score: 0.5, modelVersion: null });

function setUp(t: Test, fallback?: Evaluator | null) {
  const meter = new TestMeter();
  const lines: string[] = [];
  const state = { fails: null as Error | null, calls: 0, fallbacks: 0, ended: [] as string[] };
  const pool: Pick<ModelPool, 'isWarm' | 'predict' | 'watch' | 'stop'> = {
    isWarm: ({ values }) => Number.isFinite(values[0]),
    predict: async (rows) => {
      state.calls += 1;
      if (state.fails !== null) throw state.fails;
      // 99: cold for the model that was read meanwhile
      return rows.map(({ values: [value] }) =>
        value === 99 ? null : { value, score: 0.9, probabilities: null, model: MODEL },
      );
    },
    watch: (stopping) =>
      new Promise((resolve) =>
        stopping.addEventListener('abort', () => resolve(void state.ended.push('watch'))),
      ),
    stop: () => state.ended.push('pool'),
  };
  const rules: Evaluator = {
    adapter: 'rules',
    evaluate: (rows, facts) => {
      t.equal(facts, FACTS);
      state.fallbacks += 1;
      return rows.map(ofRules);
    },
    close: async () => void state.ended.push('rules'),
  };
  const evaluator = new ModelEvaluator({
    adapter: 'onnx',
    pool: pool as ModelPool,
    fallback: fallback === undefined ? rules : fallback,
    resetMs: RESET_MS,
    window: '2s',
    meter,
    env: { log: (level, message) => lines.push(`${level} ${message}`) },
  });
  t.teardown(() => evaluator.close());
  return { evaluator, meter, lines, state };
}

void test('a signal for each warm row, with the version of its model', async (t) => {
  const { evaluator, meter, state } = setUp(t);
  const rows = [row('A', 1), row('B', Number.NaN), row('C', 99), row('D', -1)];
  t.strictSame(await evaluator.evaluate(rows, FACTS), [
    signal('A', { value: 1 }),
    signal('D', { value: -1 }),
  ]);
  t.strictSame(await evaluator.evaluate([row('B', Number.NaN)], FACTS), []);
  t.strictSame(await evaluator.evaluate([], FACTS), []);
  t.equal(state.calls, 1, 'a call without a warm row is none');
  t.equal(meter.values.get('model_rows_total{adapter=onnx,outcome=predicted}'), 2);
  t.equal(meter.values.get('model_rows_total{adapter=onnx,outcome=cold}'), 3);
});

void test('the rules take over while the model fails, it is left alone, tried again, and used when it is well', async (t) => {
  const { evaluator, meter, lines, state } = setUp(t);
  const rows = [row('A', 1), row('B', Number.NaN)];
  const breaker = (): number | undefined => meter.values.get('model_breaker_state{adapter=onnx}');
  state.fails = new PredictionError('timeout', 'late');
  for (let call = 1; call <= 3; call += 1) {
    t.equal(evaluator.breaker, 'closed');
    t.strictSame(await evaluator.evaluate(rows, FACTS), rows.map(ofRules), 'all rows, the cold ones too');
  }
  t.equal(evaluator.breaker, 'open');
  t.equal(breaker(), 2);
  t.strictSame(await evaluator.evaluate(rows, FACTS), rows.map(ofRules));
  t.equal(state.calls, 3, 'the model is left alone');
  const cold = [row('B', Number.NaN)];
  t.strictSame(
    await evaluator.evaluate(cold, FACTS),
    cold.map(ofRules),
    'what is cold for the model need not be for the rules',
  );
  t.equal(meter.values.get('model_failures_total{adapter=onnx,reason=timeout}'), 3);
  t.equal(meter.values.get('model_rows_total{adapter=onnx,outcome=fallback}'), 9);

  await until('it is tried again', () => evaluator.breaker === 'half_open');
  t.equal(breaker(), 1);
  await evaluator.evaluate(rows, FACTS);
  t.equal(evaluator.breaker, 'open', 'and fails');
  t.equal(state.calls, 4);

  state.fails = null;
  await until('it is tried again', () => evaluator.breaker === 'half_open');
  t.match(await evaluator.evaluate(rows, FACTS), [{ name: 'ml' }]);
  t.equal(evaluator.breaker, 'closed');
  t.equal(breaker(), 0);
  t.equal(state.fallbacks, 6);
  t.ok(lines.includes('error The model failed too often and is left alone: the rules take over'));
  t.equal(lines.at(-1), 'info The model predicts again');
});

void test('without rules there are no signals meanwhile; what rules throw is thrown', async (t) => {
  const alone = setUp(t, null);
  alone.state.fails = new Error('x');
  t.strictSame(await alone.evaluator.evaluate([row('A', 1)], FACTS), []);
  t.equal(alone.meter.values.get('model_failures_total{adapter=onnx,reason=threw}'), 1);
  const broken = setUp(t, { adapter: 'rules', evaluate: () => Promise.reject(new Error('rules')) });
  broken.state.fails = new Error('x');
  await t.rejects(broken.evaluator.evaluate([row('A', 1)], FACTS), { message: 'rules' });
});

void test('it closes all that it owns', async (t) => {
  const { evaluator, state } = setUp(t);
  await evaluator.close();
  t.strictSame(state.ended.sort(), ['pool', 'rules', 'watch']);
});
