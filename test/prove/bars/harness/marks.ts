import type { StreamBus } from '../../../../src/bus/bus.ts';

/** How many events of a topic with one partition were published up to the end of each batch: not every bus can count what lies between. */
export class Marks {
  readonly #ends: { position: string; count: number }[] = [];
  readonly #bus: Pick<StreamBus, 'compare'>;

  constructor(bus: Pick<StreamBus, 'compare'>) {
    this.#bus = bus;
  }

  readonly add = (positions: readonly string[]): void => {
    const last = positions.at(-1);
    if (last !== undefined) this.#ends.push({ position: last, count: this.total + positions.length });
  };

  get total(): number {
    return this.#ends.at(-1)?.count ?? 0;
  }

  /** Up to a batch's end at or before the position. */
  upTo(position: string | null): number {
    if (position === null) return 0;
    return this.#ends.findLast((end) => this.#bus.compare(end.position, position) <= 0)?.count ?? 0;
  }
}
