import { DEFAULT_FEATURES, type FeatureSettings } from '../../core/feature/catalogue.ts';
import {
  TICK_SIGNALS,
  tickSignals,
  tickSignalSet,
  tickSignalWindows,
} from '../../core/signal/tick-signals.ts';
import type { Evaluator } from './evaluator.ts';
import { SignalStage, type SignalStageOptions } from './signal-stage.ts';

export interface SignalConsumerOptions
  extends
    Partial<Pick<SignalStageOptions, 'consumerName' | 'consumerGroup'>>,
    Omit<SignalStageOptions, 'consumerName' | 'consumerGroup'> {
  /** signals of one transaction while it keeps up (default 200); behind, as many as there are */
  batchSize?: number;
  /** how long a signal may wait for its transaction, seconds (default 5) */
  flushIntervalSeconds?: number;
  /** how far a tick may lag behind the newest one of its symbol, ms (default 500) */
  allowLateMs?: number;
  /** a silent symbol's ticks are used after this long, ms (default 5 s) */
  idleTimeoutMs?: number;
  /** grid of closes, bins of the volume profile */
  features?: FeatureSettings;
}

/** looks of one transaction at most: some 28,000 signals */
const ROWS_MAX = 4_000;
const CHECKPOINT_MS = 10_000;

/**
 * Signals of every tick: vwap_deviation_bps, spread_bps, tick_rate_z, rsi, bollinger, order_imbalance and vp_distance_bps, once each in
 * the table signals and then on mdp.signals.
 */
export class SignalConsumer extends SignalStage {
  constructor(options: SignalConsumerOptions) {
    const { batchSize = 200, flushIntervalSeconds = 5, allowLateMs = 500, idleTimeoutMs = 5_000 } = options;
    const set = tickSignalSet(options.features ?? DEFAULT_FEATURES);
    const windows = tickSignalWindows(set);
    const evaluator: Evaluator = { adapter: 'consumer', evaluate: (rows) => tickSignals(rows, windows) };
    super(
      {
        ...options,
        consumerGroup: options.consumerGroup ?? 'signal-consumer',
        consumerName: options.consumerName ?? 'signals-1',
      },
      {
        role: 'signals',
        name: 'SignalConsumer',
        rules: { set, times: 'ticks', allowLateMs, idleTimeoutMs },
        limits: {
          rows: Math.max(1, Math.ceil(batchSize / TICK_SIGNALS.length)),
          rowsMax: ROWS_MAX,
          flushMs: flushIntervalSeconds * 1000,
          checkpointMs: CHECKPOINT_MS,
        },
        evaluator,
        names: TICK_SIGNALS,
      },
    );
  }
}
