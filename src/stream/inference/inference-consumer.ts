import type { FeatureSet } from '../../core/feature/catalogue.ts';
import { windowMsOf } from '../bars/micro-batcher.ts';
import type { Evaluator } from '../signals/evaluator.ts';
import { SignalStage, type SignalStageOptions } from '../signals/signal-stage.ts';

export interface InferenceConsumerOptions extends Omit<SignalStageOptions, 'consumerName' | 'consumerGroup'> {
  /** default inference-1 */
  consumerName?: string;
  /** default mdp-inference */
  consumerGroup?: string;
  /** length of the windows at whose ends features are looked at, seconds (default 2) */
  windowSeconds?: number;
  /** how far a tick may lag behind the newest one of its symbol, ms (default 500) */
  allowLateMs?: number;
  /** a silent symbol's windows end after this long, ms (default 5 s) */
  idleTimeoutMs?: number;
  /** windows of one transaction while it keeps up (default 200) */
  batchSize?: number;
  /** which features there are */
  set: FeatureSet;
  /** rules, or a model */
  evaluator: Evaluator;
  /** names of signals that are known beforehand */
  names?: readonly string[];
}

const ROWS_MAX = 5_000;
/** windows of several symbols end at nearly the same time: waits this long to judge them together, ms */
const FLUSH_MS = 50;
const CHECKPOINT_MS = 10_000;

/** Features at the end of each window, and the signals that rules or a model make of them. */
export class InferenceConsumer extends SignalStage {
  constructor(options: InferenceConsumerOptions) {
    const { set, evaluator, names = [], batchSize = 200, allowLateMs = 500, idleTimeoutMs = 5_000 } = options;
    super(
      {
        ...options,
        consumerGroup: options.consumerGroup ?? 'mdp-inference',
        consumerName: options.consumerName ?? 'inference-1',
      },
      {
        role: 'inference',
        name: 'InferenceConsumer',
        rules: { set, times: windowMsOf(options.windowSeconds ?? 2), allowLateMs, idleTimeoutMs },
        limits: { rows: batchSize, rowsMax: ROWS_MAX, flushMs: FLUSH_MS, checkpointMs: CHECKPOINT_MS },
        evaluator,
        names,
      },
    );
  }
}
