import type { Delivery } from '../../bus/bus.ts';
import { acceptEvent } from '../../core/market/accept.ts';
import { partitionName, type RefusedRecord } from '../../core/market/dead-letter.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { Providers } from '../../core/market/identity/providers.ts';

/** A tick and its delivery: if the database refuses the tick later, the raw bytes are kept. */
export interface DeliveredTick {
  tick: TickEvent;
  delivery: Delivery;
}

/** The deliveries of one batch, sorted by what to do with them. */
export interface TickBatch {
  ticks: DeliveredTick[];
  /** malformed records, for mdp.events.dlq */
  refused: RefusedRecord[];
  /** bars and replayed ticks, which other consumers handle, and entries whose body the bus has lost */
  skipped: { bars: number; replayed: number; lost: number };
}

/** Where a batch is sorted. */
export interface BatchContext {
  group: string;
  partitions: number;
  /** timestamp of refusals, µs */
  nowMicros: bigint;
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

export function refusedRecord(
  delivery: Delivery,
  { reason, detail }: Pick<RefusedRecord, 'reason' | 'detail'>,
  { group, partitions, nowMicros }: BatchContext,
): RefusedRecord {
  return {
    topic: partitionName(delivery.topic, delivery.partition, partitions),
    msgId: delivery.position,
    group,
    reason,
    detail,
    key: delivery.key,
    encoding: delivery.encoding,
    raw: delivery.data ?? new Uint8Array(0),
    at: nowMicros,
  };
}
