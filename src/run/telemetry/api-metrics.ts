import type { MetricTable } from './metric-table.ts';

const REQUEST_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** Of the API, on METRICS_PORT with those of the other stages. */
export const API_METRICS: MetricTable = {
  http_requests_total: {
    kind: 'counter',
    help: 'Requests of the API that were answered; route _none: unknown paths, and bytes that are no HTTP.',
    labels: { route: [], method: [], status: [] },
  },
  http_request_duration_seconds: {
    kind: 'histogram',
    help: 'From the headers of a request to the end of its answer.',
    labels: { route: [] },
    buckets: REQUEST_SECONDS,
  },
  http_auth_failures_total: {
    kind: 'counter',
    help: 'Requests that a credential did not let in; blocked: too many wrong ones came from the address.',
    labels: { reason: ['missing', 'invalid', 'scope', 'blocked'] },
  },
};
