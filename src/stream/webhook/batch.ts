import type { Delivery } from '../../bus/bus.ts';
import type { Providers } from '../../core/market/identity/providers.ts';
import { decodeWebhookTick, type WebhookTick } from '../../core/market/webhook-tick.ts';
import { refusedRecord, type BatchContext, type SortedBatch } from '../shared/batch.ts';

export interface WebhookBatch extends SortedBatch<WebhookTick> {
  /** entries whose body the bus has lost */
  lost: number;
}

export function sortWebhookDeliveries(
  deliveries: readonly Delivery[],
  context: BatchContext,
  providers: Providers,
): WebhookBatch {
  const batch: WebhookBatch = { ticks: [], refused: [], lost: 0 };
  for (const delivery of deliveries) {
    const { data, encoding } = delivery;
    if (data === null) {
      batch.lost += 1;
      continue;
    }
    const tick = decodeWebhookTick(data, encoding, providers);
    if ('eventId' in tick) batch.ticks.push({ tick, delivery });
    else batch.refused.push(refusedRecord(delivery, tick, context));
  }
  return batch;
}
