import { Counter, type Registry } from 'prom-client';
import type { FillCounts } from '../../ingest/gaps/round.ts';
import { FedCounter } from './monotonic-feed.ts';

/** What filling gaps costs and brings. */
export class FillMetrics {
  readonly #ticks: Counter;
  readonly #requests: Counter<'result'>;
  readonly #found = new FedCounter((delta) => this.#requests.inc({ result: 'found' }, delta));
  readonly #missing = new FedCounter((delta) => this.#requests.inc({ result: 'missing' }, delta));
  readonly #failed = new FedCounter((delta) => this.#requests.inc({ result: 'failed' }, delta));

  constructor(registry: Registry) {
    this.#ticks = new Counter({
      name: 'tick_ingester_gap_ticks_filled_total',
      help: 'Numbers of gaps that came after all, as stored ticks or as dead letters.',
      registers: [registry],
    });
    this.#requests = new Counter({
      name: 'tick_ingester_gap_requests_total',
      help: 'Ticks of gaps that the sequencer was asked for, by its answer; failed: none, or one without meaning.',
      labelNames: ['result'],
      registers: [registry],
    });
    for (const result of ['found', 'missing', 'failed']) this.#requests.inc({ result }, 0);
  }

  filled(ticks: number): void {
    this.#ticks.inc(ticks);
  }

  /** source: the thread that counts. */
  requests(source: string, { found, missing, failed }: FillCounts): void {
    this.#found.feed(source, found);
    this.#missing.feed(source, missing);
    this.#failed.feed(source, failed);
  }
}
