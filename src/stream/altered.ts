import type { MarketEvent } from '../core/market/event.ts';
import type { Meter } from './meter.ts';

/** Counts the events that are kept otherwise than they were sent: rounded numbers, unknown sides. */
export function countAltered(meter: Meter, component: string, events: Iterable<MarketEvent>): void {
  for (const { provider, notes } of events) {
    if (notes === undefined) continue;
    for (const reason of notes)
      if (reason !== 'unnumbered') meter.count('events_altered_total', { component, provider, reason });
  }
}
