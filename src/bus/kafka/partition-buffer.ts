import type { Delivery } from '../bus.ts';

/** Records of one partition that were fetched and not handed out yet, and where the next fetch begins. */
export class PartitionBuffer {
  readonly partition: number;
  /** offset of the next fetch */
  offset: number;
  /** the log turned out to be shorter than the position, so offsets repeat with other records */
  rewound = false;
  /** where it had to go on because what was wanted was not there; null: that did not happen, or was told */
  jumpedTo: number | null = null;
  /** when the broker last had nothing, ms by the monotonic clock */
  dryMs = 0;
  /** when it was asked and had nothing, ms by the monotonic clock */
  emptyAsOfMs = -Infinity;
  #deliveries: Delivery[] = [];
  #taken = 0;

  constructor(partition: number, offset: number) {
    this.partition = partition;
    this.offset = offset;
  }

  get length(): number {
    return this.#deliveries.length - this.#taken;
  }

  add(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#deliveries.push(delivery);
  }

  take(limit: number): Delivery[] {
    const taken = this.#deliveries.slice(this.#taken, this.#taken + limit);
    this.#taken += taken.length;
    if (this.#taken === this.#deliveries.length) {
      this.#deliveries = [];
      this.#taken = 0;
    }
    return taken;
  }

  /** Puts back what was taken and could not be handed out: it comes first the next time. */
  giveBack(deliveries: readonly Delivery[]): void {
    this.#deliveries = [...deliveries, ...this.#deliveries.slice(this.#taken)];
    this.#taken = 0;
  }
}
