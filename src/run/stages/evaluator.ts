import type { FeatureSet } from '../../core/feature/catalogue.ts';
import { intervalName } from '../../core/market/interval.ts';
import { RulesEvaluator } from '../../stream/inference/rules/evaluator.ts';
import type { Evaluator } from '../../stream/signals/evaluator.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';
import type { StageHost } from './connected-stage.ts';

/** What can judge features. */
export type Adapter = 'rules' | 'sklearn' | 'onnx';

/** The configuration with this adapter enabled, and no other. */
export function withAdapter(streaming: StreamingConfig, adapter: Adapter): StreamingConfig {
  const { adapters } = streaming.inference;
  return {
    ...streaming,
    inference: {
      ...streaming.inference,
      adapters: {
        ...adapters,
        rules: { ...adapters.rules, enabled: adapter === 'rules' },
        sklearn: { ...adapters.sklearn, enabled: adapter === 'sklearn' },
      },
    },
  };
}

/** An evaluator, and the names of signals that are known before the first one. */
export interface BuiltEvaluator {
  evaluator: Evaluator;
  names: readonly string[];
}

/** What the configuration enables; nothing enabled: features are computed, and no signals. */
export async function buildEvaluator(
  { inference, micro_batch: windows }: StreamingConfig,
  set: FeatureSet,
  { env, meter }: StageHost,
): Promise<BuiltEvaluator> {
  const { rules } = inference.adapters;
  if (!rules.enabled) return { evaluator: { adapter: 'none', evaluate: () => [] }, names: [] };
  const evaluator = await RulesEvaluator.open({
    file: rules.file,
    features: set.names,
    window: intervalName(windows.window_ms),
    env,
    meter,
  });
  return { evaluator, names: evaluator.names };
}
