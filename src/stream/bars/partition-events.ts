import { Forwarder, type ParsedDelivery } from '../../bus/forwarder.ts';
import type { Delivery, StreamBus } from '../../bus/bus.ts';
import { acceptEvent, type NotAccepted } from '../../core/market/accept.ts';
import type { MarketEvent } from '../../core/market/event.ts';

/** A record of the partition and its decoded event. */
export interface PartitionEvent {
  delivery: Delivery;
  /** null: the body is lost, or the record was forwarded to its symbol's partition */
  event: MarketEvent | NotAccepted | null;
}

/**
 * Decodes the records of an owned partition. Those whose symbol belongs to another partition are published there, with
 * the same id, and ignored here.
 */
export class PartitionEvents {
  readonly #forwarder: Forwarder;
  readonly #isSpread: boolean;

  constructor(bus: StreamBus, topic: string) {
    this.#forwarder = new Forwarder(bus);
    this.#isSpread = bus.partitions(topic) > 1;
  }

  get forwarded(): number {
    return this.#forwarder.count;
  }

  parse(deliveries: readonly Delivery[]): PartitionEvent[] {
    return deliveries.map((delivery) => ({
      delivery,
      event: delivery.data === null ? null : acceptEvent(delivery.data, delivery.encoding, delivery.takenMs),
    }));
  }

  /**
   * Rejects with BusError; call it again then, with the same events.
   * @param isOld whether a position was read, and forwarded, before a restart
   */
  async forward(events: readonly PartitionEvent[], isOld: (position: string) => boolean): Promise<void> {
    if (!this.#isSpread) return;
    const parsed = events.map((each): ParsedDelivery & { at: PartitionEvent } => {
      const { event } = each;
      const isEvent = event !== null && event.kind !== 'refused';
      return {
        at: each,
        delivery: each.delivery,
        symbol: isEvent ? event.symbol : null,
        eventId: isEvent ? event.eventId : null,
      };
    });
    const { moved } = await this.#forwarder.forward(parsed, ({ delivery }) => !isOld(delivery.position));
    for (const { at } of moved) at.event = null;
  }
}
