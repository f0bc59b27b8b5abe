import type { FeatureSet } from '../../core/feature/catalogue.ts';
import type { Evaluator } from '../../stream/signals/evaluator.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';
import type { StageHost } from './connected-stage.ts';
import type { StageSetup } from './stage-setup.ts';

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

/** What the configuration enables. */
export function buildEvaluator(_setup: StageSetup, _set: FeatureSet, _host: StageHost): Promise<Evaluator> {
  return Promise.resolve({ adapter: 'rules', evaluate: () => [] });
}
