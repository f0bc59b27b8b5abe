/** What METRICS_PORT serves: the metrics of every stage on the bus. */
import { Metrics, type MetricTable } from './metric-table.ts';
import { API_METRICS } from './api-metrics.ts';
import type { Clock } from '../../core/time.ts';
import type { Labels } from '../../stream/meter.ts';
import { FAILURES } from '../../stream/inference/model/prediction.ts';
import { seriesKey, type MeterEntry } from './meter-buffer.ts';
import { REPLAY_METRICS } from './replay-metrics.ts';
import { WEBHOOK_METRICS } from './webhook-metrics.ts';

const WRITE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const WINDOW_MS = [
  100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10_000, 30_000, 60_000, 120_000,
];

const UPDATE_SECONDS = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1];

/** Stages that make signals, as the label `component`. */
const SIGNAL_ROLES = ['signals', 'inference'];

/** Names and labels that dashboards query, and what else operators need. */
const METRICS: MetricTable = {
  stream_events_ingested_total: {
    kind: 'counter',
    help: 'Events that the bus has taken.',
    labels: { bus: [], topic: [], provider: [] },
  },
  stream_consumer_lag_ms: {
    kind: 'gauge',
    help: 'Age of the oldest record of the group not yet acknowledged, by the clock of the bus.',
    labels: { topic: [], group: [], consumer: [] },
  },
  tick_forward_total: {
    kind: 'counter',
    help: 'Market ticks that are in the store, those that came again included.',
    labels: { provider: [] },
  },
  tick_forward_failures_total: {
    kind: 'counter',
    help: 'Market ticks that the store does not take: they are dead letters.',
    labels: { provider: [] },
  },
  tick_collisions_total: {
    kind: 'counter',
    help: 'Market ticks with the key of another one: conflicts, and of providers that number nothing also equal ones.',
  },
  events_altered_total: {
    kind: 'counter',
    help: 'Events kept otherwise than they were sent: a number rounded to a double, an unknown side left out.',
    labels: { component: [], provider: [], reason: ['rounded', 'unknown_side'] },
  },
  store_write_duration_seconds: {
    kind: 'histogram',
    help: 'A batch, from the first statement to what follows its commit.',
    labels: { table: ['tick_data', 'bars_ohlcv', 'signals', 'md_ticks'] },
    buckets: WRITE_SECONDS,
  },
  store_bars_write_latency_seconds: {
    kind: 'histogram',
    help: 'The same for all tables.',
    buckets: WRITE_SECONDS,
  },
  errors_total: {
    kind: 'counter',
    help: 'Records that became dead letters, and errors that are not tried again.',
    labels: { component: [], reason: [] },
  },
  retries_total: {
    kind: 'counter',
    help: 'Attempts after the first, by component.',
    labels: {
      component: [
        'inference_bus',
        'inference_database',
        'micro_batch_bus',
        'micro_batch_database',
        'signals_bus',
        'signals_database',
        'tick_consumer_bus',
        'tick_consumer_database',
        'tick_flusher_bus',
        'tick_flusher_database',
        'producer_synthetic',
        'producer_ibkr',
        'producer_orders',
        'producer_orders_database',
        'producer_ibkr_tws',
      ],
    },
  },
  log_lines_dropped_total: {
    kind: 'counter',
    help: 'Log lines that their destination did not take: a pipe that nobody reads, a full disk.',
  },
  microbatch_flush_total: {
    kind: 'counter',
    help: 'Windows whose bar was written.',
    labels: { window_ms: [], symbol: [] },
  },
  microbatch_flush_rows: {
    kind: 'counter',
    help: 'Rows of bars that were added or changed, rollups included.',
    labels: { window_ms: [] },
  },
  microbatch_window_latency_ms: {
    kind: 'histogram',
    help: 'From the ingest time of the oldest event of a window to the commit of its bar.',
    buckets: WINDOW_MS,
  },
  microbatch_active_windows: { kind: 'gauge', help: 'Windows that are open.' },
  microbatch_late_windows: {
    kind: 'gauge',
    help: 'Closed windows with a late event that wait for the tick consumer.',
  },
  microbatch_late_total: {
    kind: 'counter',
    help: 'Events whose window was closed, by what became of them.',
    labels: { policy: ['revise', 'drop', 'dlq'] },
  },
  microbatch_revisions_total: {
    kind: 'counter',
    help: 'Windows whose bar changed, or came into being, after they were closed.',
  },
  microbatch_repeats_total: {
    kind: 'counter',
    help: 'Events that were in their open window already.',
  },
  microbatch_contested_total: {
    kind: 'counter',
    help: 'Ticks whose open window held their id with other content: it is recomputed from tick_data.',
  },
  microbatch_skipped_total: {
    kind: 'counter',
    help: 'Bar events that are in no bar, by why.',
    labels: { reason: ['too_long', 'straddles', 'ticks_seen', 'overlaps'] },
  },
  features_update_duration_seconds: {
    kind: 'histogram',
    help: 'To bring the features of a symbol up to date with one tick, looks at them included: the mean of what was read at once.',
    labels: { symbol: [], window: [] },
    buckets: UPDATE_SECONDS,
  },
  features_updates_total: {
    kind: 'counter',
    help: 'Ticks that features were brought up to date with.',
    labels: { component: SIGNAL_ROLES },
  },
  features_skipped_total: {
    kind: 'counter',
    help: 'Events that are in no feature: late ones, ids that came again, bars.',
    labels: { component: SIGNAL_ROLES, reason: ['late', 'known', 'bar'] },
  },
  features_cut_total: {
    kind: 'counter',
    help: 'Ticks that left windows early: their symbol has more of them than 262,144 in its longest window.',
    labels: { component: SIGNAL_ROLES },
  },
  features_symbols: {
    kind: 'gauge',
    help: 'Symbols whose features are in memory, those of replays included.',
    labels: { component: SIGNAL_ROLES },
  },
  inference_eval_duration_seconds: {
    kind: 'histogram',
    help: 'What an adapter takes for one row of features: the mean of those that it gets at once.',
    labels: { adapter: [] },
    buckets: UPDATE_SECONDS,
  },
  signals_emitted_total: {
    kind: 'counter',
    help: 'Signals by what made them.',
    labels: { name: [], adapter: [] },
  },
  signals_written_total: {
    kind: 'counter',
    help: 'Signals that are new in their table.',
    labels: { name: [] },
  },
  signals_write_failures_total: {
    kind: 'counter',
    help: 'Signals whose transaction failed; it is tried again.',
    labels: { name: [] },
  },
  signals_compute_duration_seconds: {
    kind: 'summary',
    help: 'What one look at the features takes to become signals.',
    labels: { name: [] },
    quantiles: [0.5, 0.9, 0.99],
    windowSeconds: 600,
  },
  signals_repeated_total: {
    kind: 'counter',
    help: 'Signals that were in their table already: those that a restart makes again.',
    labels: { component: SIGNAL_ROLES },
  },
  signals_differing_total: {
    kind: 'counter',
    help: 'The same with other values: the stored one stays.',
    labels: { component: SIGNAL_ROLES },
  },
  model_rows_total: {
    kind: 'counter',
    help: 'Rows of features that a model was to judge, by what became of them.',
    labels: { adapter: [], outcome: ['predicted', 'cold', 'fallback'] },
  },
  model_failures_total: {
    kind: 'counter',
    help: 'Calls to a model that gave no predictions, by why.',
    labels: { adapter: [], reason: FAILURES },
  },
  model_predictions_followed_total: {
    kind: 'counter',
    help: 'Predictions of classes by what followed (label of the adapter); unknown: nothing was there to compare with.',
    labels: { adapter: [], outcome: ['right', 'wrong', 'unknown'] },
  },
  model_absolute_error: {
    kind: 'summary',
    help: 'Of predictions of numbers: how far they were from what followed.',
    labels: { name: [] },
    quantiles: [0.5, 0.9, 0.99],
    windowSeconds: 3600,
  },
  model_breaker_state: {
    kind: 'gauge',
    help: '0: the model is used; 2: it failed too often and is left alone; 1: the next call tries it again.',
    labels: { adapter: [] },
  },
  model_loads_total: {
    kind: 'counter',
    help: 'Changes of the model file.',
    labels: { result: ['loaded', 'refused'] },
  },
  model_processes_replaced_total: {
    kind: 'counter',
    help: 'Processes of a model that died, or were ended because a call took too long.',
  },
  stage_heartbeat_timestamp_seconds: {
    kind: 'gauge',
    help: 'When a stage last made progress or waited for a known reason.',
    labels: { stage: [] },
  },
  orders_read_total: {
    kind: 'counter',
    help: 'Transactions of the chain that the stage orders looked at, by what they are.',
    labels: { kind: ['order'] },
  },
  bus_bytes: { kind: 'gauge', help: 'What the bus holds.', labels: { bus: [] } },
  bus_max_bytes: { kind: 'gauge', help: 'What the bus may hold.', labels: { bus: [] } },
  bus_full: {
    kind: 'gauge',
    help: '1 while producers wait because the bus is above 80 % of what it may hold.',
    labels: { bus: [] },
  },
  bus_trimmed_total: { kind: 'counter', help: 'Records trimmed.', labels: { bus: [] } },
  bus_dead_letter_bytes: { kind: 'gauge', help: 'What dead letters take of the bus.', labels: { bus: [] } },
  bus_dead_letters_removed_total: {
    kind: 'counter',
    help: 'Dead letters removed before their time, because they took more than their share of the bus.',
    labels: { bus: [] },
  },
  bus_pending: {
    kind: 'gauge',
    help: 'Records handed out to a group and not acknowledged.',
    labels: { topic: [], group: [] },
  },
  bus_group_lag: {
    kind: 'gauge',
    help: 'Records not yet handed out to a group.',
    labels: { topic: [], group: [] },
  },
  bus_forwarded_total: {
    kind: 'counter',
    help: 'Records moved to the partition of their symbol from another one, or from the inbox (group mdp-inbox).',
    labels: { topic: [], group: [] },
  },
  ...API_METRICS,
  ...REPLAY_METRICS,
  ...WEBHOOK_METRICS,
};

const ALARMS = new Set(['bus_full']);

/** One series for each provider. */
const OF_PROVIDERS = ['tick_forward_total', 'tick_forward_failures_total'];

/** The registry of this process; stages in threads send what they measured (MeterBuffer). */
export class StageMetrics extends Metrics {
  /** of gauges that are an alarm: by series, what each thread says */
  readonly #alarms = new Map<string, Map<string, number>>();

  /** @param providers those whose series exist at 0 from the start; others begin with their first event */
  constructor(providers: readonly string[], clock?: Clock) {
    super(METRICS, clock);
    for (const provider of new Set(providers)) {
      for (const name of OF_PROVIDERS) this.count(name, { provider }, 0);
      for (const component of ['tick_consumer', 'micro_batch'])
        for (const reason of METRICS['events_altered_total']?.labels?.['reason'] ?? [])
          this.count('events_altered_total', { component, provider, reason }, 0);
    }
  }

  /** Adds the contents of another thread's MeterBuffer. An alarm is on while any thread has it on. */
  add(entries: readonly MeterEntry[], thread: string): void {
    for (const [kind, name, labels, value] of entries) {
      this[kind](name, labels, ALARMS.has(name) ? this.#highest(name, labels, thread, value) : value);
    }
  }

  #highest(name: string, labels: Labels, thread: string, value: number): number {
    const key = seriesKey(name, labels);
    const said = this.#alarms.get(key) ?? new Map<string, number>();
    this.#alarms.set(key, said.set(thread, value));
    return Math.max(...said.values());
  }
}
