import type { MetricTable } from './metric-table.ts';

/** Of replays, on METRICS_PORT with those of the other stages. */
export const REPLAY_METRICS: MetricTable = {
  tick_replay_ticks_emitted_total: {
    kind: 'counter',
    help: 'Ticks that a replay has handed to the bus.',
    labels: { provider: [], symbol: [], run_id: [] },
    expiresBy: 'run_id',
  },
  tick_replay_lag_ms: {
    kind: 'gauge',
    help: 'How far a replay is behind the times that its speed asks for; 0 in a burst.',
    labels: { run_id: [] },
    expiresBy: 'run_id',
  },
  tick_replay_errors_total: {
    kind: 'counter',
    help: 'Calls of a replay to bus or database that failed, those that are tried again included.',
    labels: { run_id: [] },
    expiresBy: 'run_id',
  },
  tick_replay_active: { kind: 'gauge', help: 'Replays that run here.' },
};
