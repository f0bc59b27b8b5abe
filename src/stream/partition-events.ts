import { Forwarder, type ParsedDelivery } from '../bus/forwarder.ts';
import type { Delivery, StreamBus } from '../bus/bus.ts';
import { acceptEvent, type NotAccepted } from '../core/market/accept.ts';
import { encodeEvent } from '../core/market/codec/encode.ts';
import type { MarketEvent } from '../core/market/event.ts';
import type { Providers } from '../core/market/identity/providers.ts';

/** A record of the partition and its decoded event. */
export interface PartitionEvent {
  delivery: Delivery;
  /** null: the body is lost, or the record was forwarded to its symbol's partition */
  event: MarketEvent | NotAccepted | null;
}

/**
 * Decodes the records of an owned partition. Those whose symbol belongs to another partition are published there, with
 * the same id, and ignored here.
 *
 * What is published is the event as it was understood here, under the name and with the number that its provider's rules
 * gave it: were the rules applied once more by a member that has others (while a configuration is rolled out), a record
 * could go to and fro between two partitions for ever.
 */
export class PartitionEvents {
  readonly #forwarder: Forwarder;
  readonly #isSpread: boolean;
  readonly #providers: Providers;

  constructor(bus: StreamBus, topic: string, providers: Providers) {
    this.#providers = providers;
    this.#forwarder = new Forwarder(bus);
    this.#isSpread = bus.partitions(topic) > 1;
  }

  get forwarded(): number {
    return this.#forwarder.count;
  }

  parse(deliveries: readonly Delivery[]): PartitionEvent[] {
    return deliveries.map((delivery) => {
      const { data, encoding, takenMs } = delivery;
      const event = data === null ? null : acceptEvent(data, encoding, takenMs, this.#providers);
      return { delivery, event };
    });
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
        ...(isEvent ? { asEvent: () => encodeEvent(event, each.delivery.encoding) } : {}),
      };
    });
    const { moved } = await this.#forwarder.forward(parsed, ({ delivery }) => !isOld(delivery.position));
    for (const { at } of moved) at.event = null;
  }
}
