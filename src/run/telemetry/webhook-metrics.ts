import type { MetricTable } from './metric-table.ts';

/** Of the webhook and of the flusher behind it, on METRICS_PORT with those of the other stages. */
export const WEBHOOK_METRICS: MetricTable = {
  webhook_accepted_total: {
    kind: 'counter',
    help: 'Ticks that were on the bus before their request was answered.',
  },
  webhook_rejected_total: {
    kind: 'counter',
    help: 'Requests whose ticks could not be kept: the bus was full, unreachable, misconfigured, or did not answer in time.',
    labels: { reason: ['full', 'unreachable', 'setup', 'timeout'] },
  },
  webhook_publishes_total: {
    kind: 'counter',
    help: 'Publishes that accepted ticks went out with: requests that come together share one.',
  },
  webhook_stored_total: { kind: 'counter', help: 'Ticks that are new in md_ticks.' },
  webhook_known_total: {
    kind: 'counter',
    help: 'Ticks that were in md_ticks already, with the same content.',
  },
  webhook_flushes_total: { kind: 'counter', help: 'Batches of ticks that were stored.' },
  webhook_forwarded_total: {
    kind: 'counter',
    help: 'Stored ticks that were published to mdp.events (webhook.forward), those that came again included.',
  },
};
