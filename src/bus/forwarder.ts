import { forwardTo } from '../core/bus/partitions.ts';
import type { Delivery, OutgoingRecord, StreamBus } from './bus.ts';

/** A delivery with what its role has parsed from its content. */
export interface ParsedDelivery {
  delivery: Delivery;
  /** null: its content has none */
  symbol: string | null;
  /** derived from the content, so that a record forwarded twice remains one event */
  eventId: string | null;
  /** its event in the encoding of the delivery, to be forwarded in place of its bytes; left out: its bytes */
  asEvent?: () => Uint8Array;
}

export interface Forwarded<T> {
  /** those in their right partition, in order: the role's work */
  kept: T[];
  /** those published again to their right partition: to be acknowledged or skipped here */
  moved: T[];
}

/**
 * Moves records of foreign programs to the partition of their symbol, so that no symbol is split between two owners. Members
 * and partition readers use it right after next(), before anything else looks at the records.
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
   * @param isNew false: it was forwarded before, and only has to be separated from the others
   */
  async forward<T extends ParsedDelivery>(
    parsed: readonly T[],
    isNew: (each: T) => boolean = () => true,
  ): Promise<Forwarded<T>> {
    const kept: T[] = [];
    const moved: T[] = [];
    const records: OutgoingRecord[] = [];
    for (const each of parsed) {
      const { delivery, symbol, eventId, asEvent } = each;
      const { topic, partition, data, encoding } = delivery;
      if (
        symbol === null ||
        data === null ||
        forwardTo({ partition, symbol }, this.#bus.partitions(topic)) === null
      ) {
        kept.push(each);
      } else {
        moved.push(each);
        if (!isNew(each)) continue;
        const content = asEvent?.() ?? data;
        records.push({ key: symbol, eventId: eventId ?? delivery.eventId, data: content, encoding });
      }
    }
    if (records.length > 0) {
      await this.#bus.publish(moved[0].delivery.topic, records);
      this.count += records.length;
    }
    return { kept, moved };
  }
}
