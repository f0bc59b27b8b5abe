import type { Delivery } from '../../bus/bus.ts';
import { partitionName, type RefusedRecord } from '../../core/market/dead-letter.ts';

/** A tick and its delivery: if the database refuses the tick later, the raw bytes are kept. */
export interface Delivered<T> {
  tick: T;
  delivery: Delivery;
}

/** The deliveries of one batch, sorted by what to do with them. */
export interface SortedBatch<T> {
  ticks: Delivered<T>[];
  /** malformed records, for mdp.events.dlq */
  refused: RefusedRecord[];
}

/** Where a batch is sorted. */
export interface BatchContext {
  group: string;
  partitions: number;
  /** timestamp of refusals, µs */
  nowMicros: bigint;
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
