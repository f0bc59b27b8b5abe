import type { Redis } from 'ioredis';
import { systemClock } from '../../core/time.ts';
import type { Delivery } from '../bus.ts';
import { claim } from './claim.ts';
import { GIVEN_BACK, type Stream } from './groups.ts';
import { readConsumers } from './replies.ts';

const LOOK_MS_MAX = 1000;
const HEARTBEAT_MS_MAX = 5000;
const FORGET_MS = 7 * 86_400_000;

/** How often a member says that it lives, ms. */
export function heartbeatMs(takeoverMs: number): number {
  return Math.min(takeoverMs / 4, HEARTBEAT_MS_MAX);
}

interface Silence {
  idleMs: number;
  /** since when it has been known to be silent for too long, by our own monotonic clock, ms */
  sinceMs: number;
}

export interface TakeoverOptions {
  streams: readonly Stream[];
  group: string;
  member: string;
  takeoverMs: number;
  /** names of members that were not seen for so long and hold nothing are struck from the group, ms (default 7 days) */
  forgetMs?: number;
}

interface Source {
  stream: Stream;
  consumer: string;
  after: string | null;
}

/**
 * Finds members that are dead and takes what they had. Judged by when the consumer was last seen, not by the age of an
 * entry: a slow member says that it lives and keeps everything. Silence counts only once it went on, under our own eyes,
 * for longer than the living need to speak: after a server that stood still, everybody was silent.
 */
export class RedisTakeover {
  readonly #streams: readonly Stream[];
  readonly #group: string;
  readonly #member: string;
  readonly #takeoverMs: number;
  readonly #forgetMs: number;
  readonly #lookMs: number;
  readonly #silences = new Map<string, Silence>();
  #sources: Source[] = [];
  #lookedMs = -Infinity;

  constructor({ streams, group, member, takeoverMs, forgetMs = FORGET_MS }: TakeoverOptions) {
    this.#streams = streams;
    this.#group = group;
    this.#member = member;
    this.#takeoverMs = takeoverMs;
    this.#forgetMs = forgetMs;
    this.#lookMs = Math.min(takeoverMs / 4, LOOK_MS_MAX);
  }

  /** ms until it should be asked again */
  get dueInMs(): number {
    if (this.#sources.length > 0) return 0;
    return Math.max(0, this.#lookedMs + this.#lookMs - systemClock.monotonicMs());
  }

  /** Forgets what was seen: the connection failed meanwhile. */
  reset(): void {
    this.#silences.clear();
    this.#sources = [];
  }

  /** `onOwn` is told how much the server has pending for this member itself. */
  async next(
    client: Redis,
    limit: number,
    onOwn: (stream: Stream, pending: number) => void,
  ): Promise<Delivery[]> {
    if (this.#sources.length === 0) await this.#look(client, onOwn);
    const taken: Delivery[] = [];
    while (taken.length < limit) {
      const [source] = this.#sources;
      if (source === undefined) break;
      const { deliveries, after } = await claim(client, {
        stream: source.stream,
        group: this.#group,
        from: source.consumer,
        to: this.#member,
        minIdleMs: this.#takeoverMs,
        limit: limit - taken.length,
        after: source.after,
      });
      taken.push(...deliveries);
      source.after = after;
      if (after === null) this.#sources.shift();
    }
    return taken;
  }

  async #look(client: Redis, onOwn: (stream: Stream, pending: number) => void): Promise<void> {
    const sources: Source[] = [];
    const nowMs = systemClock.monotonicMs();
    // not looked for a while: what happened meanwhile was not under our eyes
    if (nowMs - this.#lookedMs > this.#takeoverMs / 2 + this.#lookMs) this.#silences.clear();
    const answers = await Promise.all(
      this.#streams.map(async (stream) => ({
        stream,
        consumers: await readConsumers(client, stream.key, this.#group),
      })),
    );
    this.#lookedMs = systemClock.monotonicMs();
    for (const { stream, consumers } of answers) {
      for (const { name, pending, idleMs } of consumers) {
        if (name === this.#member) onOwn(stream, pending);
        else if (pending === 0) {
          if (idleMs > this.#forgetMs) await client.xgroup('DELCONSUMER', stream.key, this.#group, name);
        } else if (name === GIVEN_BACK || this.#isDead(`${stream.partition} ${name}`, idleMs)) {
          sources.push({ stream, consumer: name, after: null });
        }
      }
    }
    this.#sources = sources;
  }

  #isDead(consumer: string, idleMs: number): boolean {
    const known = this.#silences.get(consumer);
    if (idleMs < this.#takeoverMs) {
      this.#silences.delete(consumer);
      return false;
    }
    if (known === undefined || idleMs < known.idleMs) {
      this.#silences.set(consumer, { idleMs, sinceMs: this.#lookedMs });
      return false;
    }
    known.idleMs = idleMs;
    return this.#lookedMs - known.sinceMs >= heartbeatMs(this.#takeoverMs) * 2;
  }
}
