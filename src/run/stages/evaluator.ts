import type { FeatureSet } from '../../core/feature/catalogue.ts';
import { parseDuration } from '../../core/duration.ts';
import { parseLabel, type Label } from '../../core/signal/history-rows.ts';
import { intervalName } from '../../core/market/interval.ts';
import { FollowedEvaluator } from '../../stream/inference/followed.ts';
import { ModelEvaluator } from '../../stream/inference/model/evaluator.ts';
import { ModelError } from '../../stream/inference/model/file.ts';
import { ModelPool } from '../../stream/inference/model/pool.ts';
import { classOfNumber } from '../../stream/inference/score.ts';
import { RulesEvaluator } from '../../stream/inference/rules/evaluator.ts';
import type { Evaluator } from '../../stream/signals/evaluator.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';
import type { StageHost } from './connected-stage.ts';

/** What can judge features. */
export type Adapter = 'rules' | 'sklearn' | 'onnx';

/**
 * The configuration with this adapter, and no other one; a model keeps the rules where they are enabled, for while it fails.
 */
export function withAdapter(streaming: StreamingConfig, adapter: Adapter): StreamingConfig {
  const { adapters } = streaming.inference;
  return {
    ...streaming,
    inference: {
      ...streaming.inference,
      adapters: {
        rules: { ...adapters.rules, enabled: adapters.rules.enabled || adapter === 'rules' },
        sklearn: { ...adapters.sklearn, enabled: adapter === 'sklearn' },
        onnx: { ...adapters.onnx, enabled: adapter === 'onnx' },
      },
    },
  };
}

/**
 * What a model predicts; null: it is not said.
 * @throws RangeError when that is no label of these features
 */
export function labelOf({ label }: { label?: string | undefined }, set: FeatureSet): Label | null {
  return label === undefined ? null : parseLabel(label, set, parseDuration);
}

/** An evaluator, and the names of signals that are known before the first one. */
export interface BuiltEvaluator {
  evaluator: Evaluator;
  names: readonly string[];
}

/**
 * What the configuration enables: a model, with the rules for while it fails, or the rules; nothing enabled: features are computed,
 * and no signals.
 *
 * @throws RulesError, ModelError
 */
export async function buildEvaluator(
  { inference, micro_batch: windows }: StreamingConfig,
  set: FeatureSet,
  { env, meter }: StageHost,
): Promise<BuiltEvaluator> {
  const { adapters } = inference;
  const windowMs = windows.window_ms;
  const shared = { features: set.names, env, meter };
  const window = intervalName(windowMs);
  const adapter = (['onnx', 'sklearn'] as const).find((name) => adapters[name].enabled);
  let rules: RulesEvaluator | null = null;
  if (adapters.rules.enabled) {
    rules = await RulesEvaluator.open({ ...shared, file: adapters.rules.file, window });
    if (adapter === undefined) return { evaluator: rules, names: rules.names };
  }
  if (adapter === undefined) return { evaluator: { adapter: 'none', evaluate: () => [] }, names: [] };
  const {
    model_path: path,
    timeout: timeoutMs,
    workers,
    reset_after: resetMs,
    threshold = 0,
  } = adapters[adapter];
  const label = labelOf(adapters[adapter], set);
  try {
    if (path === '') throw new ModelError(`inference.adapters.${adapter} has no model_path`);
    const pool = await ModelPool.open({ ...shared, path, timeoutMs, workers });
    const evaluator = new ModelEvaluator({
      adapter,
      pool,
      fallback: rules,
      resetMs,
      windowMs,
      window,
      env,
      meter,
    });
    const names = [pool.model.name, ...(rules?.names ?? [])];
    if (label === null) return { evaluator, names };
    const classOf = (followed: number): number | null =>
      pool.model.classes === null ? null : classOfNumber(pool.model.classes, followed, threshold);
    return { evaluator: new FollowedEvaluator({ evaluator, label, classOf, meter }), names };
  } catch (error) {
    await rules?.close();
    throw error;
  }
}
