import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { featureSet } from '../../../../src/core/feature/catalogue.ts';
import type { FeatureRow, Signal } from '../../../../src/core/signal/signal.ts';
import { featureSettings } from '../../../../src/run/config/streaming/feature-keys.ts';
import { loadStreamingConfig, type StreamingConfig } from '../../../../src/run/config/streaming/load.ts';
import { buildEvaluator, withAdapter } from '../../../../src/run/stages/evaluator.ts';
import type { Facts } from '../../../../src/stream/signals/evaluator.ts';
import { testEnv } from '../../../support/bus/env.ts';
import { FAILURES } from '../../../../src/stream/inference/model/prediction.ts';
import { TestMeter } from '../../../support/bus/meter.ts';
import { modelFolder, TROUBLED, writeModel } from '../../../support/models/folder.ts';
import { troubledModel, TROUBLES } from '../../../support/models/onnx.ts';
import { until } from '../../../support/until.ts';

const HANG = 1e15;
const FACTS: Facts = { get: () => [], set: () => {} };
/** features in the places of the model's troubles */
const STAND_INS = { v: 'ret', loops: 'momentum', throws: 'vol', nan: 'rsi', more: 'vwap' } as const;

async function configured(t: Test, adapters: string): Promise<StreamingConfig> {
  const folder = await modelFolder(t);
  const side = { ...TROUBLED, features: TROUBLES.map((name) => STAND_INS[name]) };
  const model = await writeModel(folder, 'm', troubledModel(), side);
  const rules = join(folder, 'rules.yaml');
  await writeFile(rules, '- { name: up, condition: "ret > 0.0", signal: 7.0, score: 0.5 }\n');
  const text = `version: 1\ninference:\n  adapters:\n    rules: { file: ${rules} }\n    ${adapters.replace('MODEL', model)}\n`;
  return loadStreamingConfig(
    'f.yaml',
    () => null,
    () => text,
  );
}

async function build(t: Test, config: StreamingConfig) {
  const meter = new TestMeter();
  const set = featureSet(featureSettings(config.features));
  const { evaluator, names } = await buildEvaluator(config, set, { env: testEnv(), meter });
  t.teardown(() => evaluator.close?.());
  const judge = async (
    trouble: Partial<Record<keyof typeof STAND_INS, number>>,
  ): Promise<readonly Signal[]> => {
    const values = new Float64Array(set.names.length);
    for (const name of TROUBLES)
      values[set.names.indexOf(STAND_INS[name])] = trouble[name] ?? (name === 'v' ? 1 : 0);
    const row: FeatureRow = {
      runId: 0n,
      provider: 'p',
      symbol: 'S',
      tsUs: 2e6,
      price: 10,
      values,
      isQuoted: false,
    };
    return evaluator.evaluate([row], FACTS);
  };
  return { evaluator, names, judge, meter };
}

void test('a model judges; while it hangs, throws or gives NaN the rules do, and it judges again when it is well', async (t) => {
  const config = await configured(
    t,
    'onnx: { enabled: true, model_path: MODEL, timeout: 300ms, reset_after: 200ms }',
  );
  const { evaluator, names, judge, meter } = await build(t, config);
  t.equal(evaluator.adapter, 'onnx');
  t.strictSame(names, ['troubled', 'up']);
  const well = { name: 'troubled', value: 1, score: null, window: '2s', modelVersion: '1', price: 10 };
  const ofRules = { name: 'up', value: 7, score: 0.5, modelVersion: null };
  const state = (): number | undefined => meter.values.get('model_breaker_state{adapter=onnx}');
  await until('it judges', async () => (await judge({})).some(({ name }) => name === 'troubled'));
  t.match(await judge({}), [well]);
  const troubles = [{ loops: HANG }, { throws: 1 }, { nan: -1 }, { more: 1 }];
  for (let at = 0; state() !== 2; at += 1) t.match(await judge(troubles[at % troubles.length]), [ofRules]);
  t.match(await judge({}), [ofRules], 'it is left alone');
  await until('it judges again', async () => (await judge({})).some(({ name }) => name === 'troubled'));
  t.equal(state(), 0);
  t.ok((meter.values.get('model_failures_total{adapter=onnx,reason=timeout}') ?? 0) > 0);
  // on a busy machine a process that has just been replaced is late, too: pool.test.ts tells the reasons apart
  const failures = FAILURES.map(
    (reason) => meter.values.get(`model_failures_total{adapter=onnx,reason=${reason}}`) ?? 0,
  );
  t.ok(failures.reduce((sum, count) => sum + count) >= 3, 'before it opens');
});

void test('an adapter that is asked for is the one that judges', async (t) => {
  const config = await configured(t, 'sklearn: { enabled: true, model_path: MODEL, timeout: 20s }');
  const asked = await build(t, withAdapter(config, 'sklearn'));
  t.equal(asked.evaluator.adapter, 'sklearn');
  t.match(await asked.judge({ v: 3 }), [{ value: 3 }]);
  const rules = await build(t, withAdapter(config, 'rules'));
  t.equal(rules.evaluator.adapter, 'rules');
  t.match(await rules.judge({ v: 3 }), [{ value: 7 }]);
  const { inference } = withAdapter(config, 'onnx');
  t.match(inference.adapters, {
    rules: { enabled: true },
    sklearn: { enabled: false },
    onnx: { enabled: true },
  });
  await t.rejects(build(t, withAdapter(config, 'onnx')), {
    message: 'inference.adapters.onnx has no model_path',
  });
});
