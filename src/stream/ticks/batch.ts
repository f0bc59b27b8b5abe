import type { Delivery } from '../../bus/bus.ts';
import { acceptEvent } from '../../core/market/accept.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { refusedRecord, type BatchContext, type Delivered, type SortedBatch } from '../shared/batch.ts';

export type DeliveredTick = Delivered<TickEvent>;

export interface TickBatch extends SortedBatch<TickEvent> {
  /** bars and replayed ticks, which other consumers handle, and entries whose body the bus has lost */
  skipped: { bars: number; replayed: number; lost: number };
}

export function sortDeliveries(
  deliveries: readonly Delivery[],
  context: BatchContext,
  providers: Providers,
): TickBatch {
  const batch: TickBatch = { ticks: [], refused: [], skipped: { bars: 0, replayed: 0, lost: 0 } };
  for (const delivery of deliveries) {
    if (delivery.data === null) {
      batch.skipped.lost += 1;
      continue;
    }
    const event = acceptEvent(delivery.data, delivery.encoding, delivery.takenMs, providers);
    if (event.kind === 'refused') batch.refused.push(refusedRecord(delivery, event, context));
    else if (event.kind === 'bar') batch.skipped.bars += 1;
    else if (event.origin === 'replay') batch.skipped.replayed += 1;
    else batch.ticks.push({ tick: event, delivery });
  }
  return batch;
}
