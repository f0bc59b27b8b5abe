import { forwardTo } from '../core/bus/partitions.ts';
import type { Delivery, OutgoingRecord, StreamBus } from './bus.ts';

/** A delivery with what its content says, as the role that reads it has parsed it. */
export interface ParsedDelivery {
  delivery: Delivery;
  /** null: its content names none */
  symbol: string | null;
  /** derived from the content; keeps a record that is forwarded twice one event */
  eventId: string | null;
}

export interface Forwarded<T> {
  /** those that lie where they should, in their order: the role's work */
  kept: T[];
  /** those that are in their right partition now: to be acknowledged, or passed over */
  moved: T[];
}

/**
 * Puts records of foreign programs into the partition of their symbol, so that no symbol is split between two owners. For
 * members and readers of partitions alike, right after next() and before the role looks at anything.
 */
export class Forwarder {
  readonly #bus: StreamBus;
  /** records forwarded since the start */
  count = 0;

  constructor(bus: StreamBus) {
    this.#bus = bus;
  }

  /**
   * Resolves when the misplaced ones are published again, with the symbol as key and their eventId. All of one topic.
   * Rejects with BusError: nothing may be acknowledged then, and forwarding again makes equal eventIds.
   * @param isNew false: it was forwarded before, and is only told from the others
   */
  async forward<T extends ParsedDelivery>(
    parsed: readonly T[],
    isNew: (each: T) => boolean = () => true,
  ): Promise<Forwarded<T>> {
    const kept: T[] = [];
    const moved: T[] = [];
    const records: OutgoingRecord[] = [];
    for (const each of parsed) {
      const { delivery, symbol, eventId } = each;
      const { topic, partition, data, encoding } = delivery;
      if (
        symbol === null ||
        data === null ||
        forwardTo({ partition, symbol }, this.#bus.partitions(topic)) === null
      ) {
        kept.push(each);
      } else {
        moved.push(each);
        if (isNew(each)) records.push({ key: symbol, eventId: eventId ?? delivery.eventId, data, encoding });
      }
    }
    if (records.length > 0) {
      await this.#bus.publish(moved[0].delivery.topic, records);
      this.count += records.length;
    }
    return { kept, moved };
  }
}
