import { TrimmedError, type BusFollower, type Delivery } from '../../../bus/bus.ts';
import type { StoredTick } from '../../../store/live/ticks.ts';
import { comparePlaces, latest, type Vector } from '../vector.ts';
import { keyText } from './item.ts';
import { liveTick, type TickHub, type TickHubTools } from './hub.ts';

/** A record behind the reader's position that the hub found to be the first of its key. */
export interface FirstTick {
  tick: StoredTick;
  partition: number;
  position: string;
  takenMs: number;
}

/** Records per read, and how long a read waits for them, ms: they are there. */
const PAGE = 1_000;
const WAIT_MS = 1_000;
/** keys behind an old checkpoint */
const KEYS_MAX = 500_000;

/** Reads the bus for one subscriber, up to where the hub is: further, nothing is decided yet. */
export class TickBusReader {
  readonly #tools: Pick<TickHubTools, 'bus' | 'topic' | 'providers'>;
  readonly #hub: TickHub;
  readonly #followers = new Map<number, BusFollower>();
  /** records at or below are only remembered: the subscriber has them */
  readonly #deliverAfter: Vector;
  /** keys behind the subscriber's checkpoint, up to where the hub's memory begins; null: it begins before */
  readonly #keys: Set<string> | null;
  #positions: Vector;

  /**
   * @param positions up to here the subscriber has everything
   * @param rereadAfter null: nothing is to be remembered first
   */
  constructor(
    tools: Pick<TickHubTools, 'bus' | 'topic' | 'providers'>,
    hub: TickHub,
    positions: Vector,
    rereadAfter: Vector | null,
  ) {
    this.#tools = tools;
    this.#hub = hub;
    this.#deliverAfter = positions;
    this.#positions = rereadAfter ?? positions;
    this.#keys = rereadAfter === null ? null : new Set();
  }

  get positions(): Vector {
    return this.#positions;
  }

  set positions(positions: Vector) {
    this.#positions = positions;
  }

  /** Up to here the subscriber has everything, also where it rereads. */
  get reached(): Vector {
    return latest((a, b) => this.#tools.bus.compare(a, b), this.#positions, this.#deliverAfter);
  }

  /** It needs records from before the hub began: the hub's memory of events is not enough. */
  get isRereading(): boolean {
    if (this.#keys === null) return false;
    const { acknowledged } = this.#hub.first;
    return this.#positions.some(
      (position, partition) => this.#compare(position, acknowledged[partition] ?? null) < 0,
    );
  }

  /** A key that the subscriber's own memory has. */
  hasKey(tick: StoredTick): boolean {
    return this.#keys !== null && this.#keys.has(keyText(tick));
  }

  /** The next page of one of the partitions; null: it has reached the hub. Rejects with TrimmedError. */
  async next(): Promise<FirstTick[] | null> {
    const { positions } = this.#hub.fanOut;
    const partition = this.#positions.findIndex((own, at) => this.#compare(own, positions[at] ?? null) < 0);
    if (partition < 0) return null;
    const end = positions[partition] ?? null;
    const deliveries = await this.#read(partition);
    const known = deliveries.filter(({ position }) => this.#compare(position, end) <= 0);
    if (known.length < deliveries.length || known.length === 0) await this.#closeOne(partition);
    const from = this.#positions[partition] ?? null;
    const last =
      known.at(-1)?.position ?? (deliveries.length === 0 && (await this.#isAtEnd(partition)) ? end : from);
    const repetitions = this.#hub.repetitions[partition];
    const { forgottenUpTo } = repetitions;
    if (forgottenUpTo !== null && this.#compare(from, forgottenUpTo) < 0)
      throw new TrimmedError(this.#tools.topic, partition, null);
    const found = known.flatMap((delivery) => this.#first(partition, delivery));
    this.#positions = this.#positions.with(partition, last);
    return found;
  }

  async close(): Promise<void> {
    const followers = [...this.#followers.values()];
    this.#followers.clear();
    await Promise.all(followers.map((follower) => follower.close()));
  }

  #first(partition: number, delivery: Delivery): FirstTick[] {
    const tick = liveTick(delivery, this.#tools.providers);
    if (tick === null) return [];
    const { position, takenMs } = delivery;
    if (this.#hub.repetitions[partition]?.has(position)) return [];
    if (
      this.#keys !== null &&
      this.#compare(position, this.#hub.first.acknowledged[partition] ?? null) <= 0
    ) {
      const key = keyText(tick);
      if (this.#keys.has(key)) return [];
      if (this.#keys.size < KEYS_MAX) this.#keys.add(key);
    } else if (this.hasKey(tick)) return [];
    return this.#compare(position, this.#deliverAfter[partition] ?? null) > 0
      ? [{ tick, partition, position, takenMs }]
      : [];
  }

  async #read(partition: number): Promise<Delivery[]> {
    const { bus, topic } = this.#tools;
    let follower = this.#followers.get(partition);
    if (follower === undefined) {
      follower = await bus.follow(topic, partition, this.#positions[partition] ?? null);
      this.#followers.set(partition, follower);
    }
    try {
      return await follower.next(PAGE, WAIT_MS);
    } catch (error) {
      // of what was to be remembered alone, some is gone: a repetition of that would not be recognised
      const isSpared =
        error instanceof TrimmedError &&
        error.first !== null &&
        this.#compare(error.first, this.#deliverAfter[partition] ?? null) <= 0;
      if (!isSpared) throw error;
      return follower.next(PAGE, WAIT_MS);
    }
  }

  async #isAtEnd(partition: number): Promise<boolean> {
    const { bus, topic } = this.#tools;
    return (await bus.read(topic, partition, this.#positions[partition] ?? null, 1)).length === 0;
  }

  async #closeOne(partition: number): Promise<void> {
    const follower = this.#followers.get(partition);
    this.#followers.delete(partition);
    await follower?.close();
  }

  #compare(a: string | null, b: string | null): number {
    return comparePlaces((one, other) => this.#tools.bus.compare(one, other), a, b);
  }
}
