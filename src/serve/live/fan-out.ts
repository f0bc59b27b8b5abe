import { Signal } from '../../core/wait.ts';
import { LiveChunk, type LiveEvent } from './event.ts';
import type { Predicate } from './filter.ts';
import { comparePlaces, isAtLeast, type Compare, type Vector } from './vector.ts';

/** An event and where it lies. */
export interface Placed {
  event: LiveEvent;
  partition: number;
  position: string;
  /** when the bus took it, ms since 1970 */
  takenMs: number;
}

interface Batch {
  partition: number;
  before: string | null;
  after: string;
  placed: readonly Placed[];
  bytes: number;
}

/** Takes part in the fan-out: it is at the hub's position at all times. */
export interface Member {
  /**
   * Called with each batch that has something for it. False: it cannot take it, and is no member any more.
   * @param before the hub's position before this batch
   */
  offer(chunk: LiveChunk, before: Vector): boolean;
  /** The hub began anew: it is no member any more. @param at the hub's last position */
  dismissed(at: Vector): void;
}

interface Group {
  predicate: Predicate;
  members: Set<Member>;
}

/** What is kept in memory for those who are a little behind, bytes and batches. */
const MEMORY_BYTES = 32 * 2 ** 20;
const MEMORY_BATCHES = 50_000;
/** of an event beyond its text: objects and strings, about */
const EVENT_BYTES = 400;

/**
 * Hands the batches of a hub to its members, and keeps the newest ones. Members with equal filters get the same chunk, so that
 * a batch is filtered and encoded once for each filter, however many subscribers there are. Everything here happens at once,
 * without waiting: between a look at the position and what is done about it nothing can come.
 */
export class FanOut {
  readonly #compare: Compare;
  readonly #groups = new Map<string, Group>();
  readonly #news = new Signal();
  readonly #bytesMax: number;
  #batches: Batch[] = [];
  /** of #batches: forgotten ones at its beginning, cut off when they are many */
  #first = 0;
  #bytes = 0;
  #positions: Vector;
  #oldest: Vector;

  constructor(compare: Compare, start: Vector, bytesMax = MEMORY_BYTES) {
    this.#compare = compare;
    this.#positions = start;
    this.#oldest = start;
    this.#bytesMax = bytesMax;
  }

  /** Up to here everything was published. */
  get positions(): Vector {
    return this.#positions;
  }

  get members(): number {
    let count = 0;
    for (const { members } of this.#groups.values()) count += members.size;
    return count;
  }

  /** Resolves with the next batch, wake() or close(). */
  news(): Promise<void> {
    return this.#news.wait();
  }

  wake(): void {
    this.#news.fire();
  }

  /** In the order of their positions; up to `after` there are no more. */
  publish(partition: number, after: string, placed: readonly Placed[]): void {
    const before = this.#positions;
    this.#positions = before.with(partition, after);
    this.#remember({ partition, before: before[partition] ?? null, after, placed, bytes: bytesOf(placed) });
    if (placed.length > 0) {
      const all = placed.map(({ event }) => event);
      for (const [key, group] of this.#groups) this.#hand(key, group, all, before);
    }
    this.#news.fire();
  }

  /** Everything behind this position is in memory. */
  covers(positions: Vector): boolean {
    return isAtLeast(this.#compare, positions, this.#oldest);
  }

  /** What lies behind a position that is covered, and the position behind it; about `limit` events. */
  since(positions: Vector, limit: number): { placed: Placed[]; positions: Vector } {
    const found: Placed[] = [];
    let reached = positions;
    for (let at = this.#first; at < this.#batches.length && found.length < limit; at++) {
      const { partition, before, after, placed } = this.#batches[at];
      const own = reached[partition] ?? null;
      if (comparePlaces(this.#compare, own, after) >= 0) continue;
      const isWhole = comparePlaces(this.#compare, own, before) <= 0;
      for (const each of placed)
        if (isWhole || comparePlaces(this.#compare, each.position, own) > 0) found.push(each);
      reached = reached.with(partition, after);
    }
    return { placed: found, positions: reached };
  }

  /** For one that has everything up to the present position. */
  join(key: string, predicate: Predicate, member: Member): void {
    const group = this.#groups.get(key) ?? { predicate, members: new Set() };
    this.#groups.set(key, group);
    group.members.add(member);
  }

  leave(key: string, member: Member): void {
    const group = this.#groups.get(key);
    group?.members.delete(member);
    if (group?.members.size === 0) this.#groups.delete(key);
  }

  /** The hub begins anew with another one. */
  close(): void {
    const members = [...this.#groups.values()].flatMap((group) => [...group.members]);
    this.#groups.clear();
    for (const member of members) member.dismissed(this.#positions);
    this.#news.fire();
  }

  #hand(key: string, { predicate, members }: Group, events: readonly LiveEvent[], before: Vector): void {
    const wanted = events.filter(predicate);
    if (wanted.length === 0) return;
    const chunk = new LiveChunk(wanted);
    for (const member of members) if (!member.offer(chunk, before)) members.delete(member);
    if (members.size === 0) this.#groups.delete(key);
  }

  #remember(batch: Batch): void {
    this.#batches.push(batch);
    this.#bytes += batch.bytes;
    while (
      this.#first < this.#batches.length &&
      (this.#bytes > this.#bytesMax || this.#batches.length - this.#first > MEMORY_BATCHES)
    ) {
      const { partition, after, bytes } = this.#batches[this.#first];
      this.#oldest = this.#oldest.with(partition, after);
      this.#bytes -= bytes;
      this.#first += 1;
    }
    if (this.#first > this.#batches.length / 2) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
  }
}

function bytesOf(placed: readonly Placed[]): number {
  let bytes = 0;
  for (const { event } of placed) bytes += event.id.length + event.data.length + EVENT_BYTES;
  return bytes;
}
