import { Counter, type Registry } from 'prom-client';
import { FedCounter } from './monotonic-feed.ts';

/** Frames of numbers that came before: equal to what is stored, by their cause, or not. */
export class RepeatMetrics {
  readonly #duplicates: Counter<'cause'>;
  readonly #conflicts: Counter;
  readonly stream = new FedCounter((delta) => this.#duplicates.inc({ cause: 'stream' }, delta));
  readonly resume = new FedCounter((delta) => this.#duplicates.inc({ cause: 'resume' }, delta));
  readonly unwanted = new FedCounter((delta) => this.#duplicates.inc({ cause: 'unwanted' }, delta));
  readonly conflicts = new FedCounter((delta) => this.#conflicts.inc(delta));

  constructor(registry: Registry) {
    this.#duplicates = new Counter({
      name: 'tick_ingester_duplicates_total',
      help: 'Frames equal to a tick that is stored: repeated by the stream, or read again after our own resume; or not wanted: below the first tick, or skipped.',
      labelNames: ['cause'],
      registers: [registry],
    });
    this.#conflicts = new Counter({
      name: 'tick_ingester_conflicts_total',
      help: 'Frames that say something else than the tick of their number that is stored. Alarm: the chain was rewritten.',
      registers: [registry],
    });
    for (const cause of ['stream', 'resume', 'unwanted']) this.#duplicates.inc({ cause }, 0);
  }
}
