import type { Redis } from 'ioredis';
import { wallMs, type Clock } from '../../../core/time.ts';
import type { Delivery } from '../../bus.ts';
import { toDelivery, type RawEntry } from '../entry.ts';
import { GIVEN_BACK, type Stream } from './groups.ts';
import { readConsumers, type Reply } from '../replies.ts';

const LOOK_MS_MAX = 1000;
const HEARTBEAT_MS_MAX = 5000;
const FORGET_MS = 7 * 86_400_000;
/** pending entries read at once */
const PAGE = 1000;
/** idle time that entries are given when they are given back, ms: any member may then take them at once */
const GIVEN_BACK_IDLE_MS = 365 * 86_400_000;

/** How often a member shows that it lives, ms. */
export function heartbeatMs(takeoverMs: number): number {
  return Math.min(takeoverMs / 4, HEARTBEAT_MS_MAX);
}

interface Silence {
  idleMs: number;
  /** when we first saw it silent for too long, by our monotonic clock, ms */
  sinceMs: number;
}

export interface TakeoverOptions {
  streams: readonly Stream[];
  group: string;
  member: string;
  takeoverMs: number;
  clock: Clock;
  /** members that were not seen for this long and have nothing pending are removed from the group, ms (default 7 days) */
  forgetMs?: number;
}

interface Source {
  stream: Stream;
  consumer: string;
  after: string | null;
}

/**
 * Finds members that are dead and takes over what they had. Judged by when the consumer was last seen, not by the age of an
 * entry: a slow member sends heartbeats and keeps everything. Silence counts only after we ourselves watched it for longer
 * than the interval of two heartbeats: after the server was suspended, every member looks silent.
 */
export class RedisTakeover {
  readonly #streams: readonly Stream[];
  readonly #group: string;
  readonly #member: string;
  readonly #clock: Clock;
  readonly #takeoverMs: number;
  readonly #forgetMs: number;
  readonly #lookMs: number;
  readonly #silences = new Map<string, Silence>();
  #sources: Source[] = [];
  #lookedMs = -Infinity;

  constructor({ streams, group, member, takeoverMs, clock, forgetMs = FORGET_MS }: TakeoverOptions) {
    this.#streams = streams;
    this.#group = group;
    this.#member = member;
    this.#clock = clock;
    this.#takeoverMs = takeoverMs;
    this.#forgetMs = forgetMs;
    this.#lookMs = Math.min(takeoverMs / 4, LOOK_MS_MAX);
  }

  /** Until next() should be called again, ms. */
  get dueInMs(): number {
    if (this.#sources.length > 0) return 0;
    return Math.max(0, this.#lookedMs + this.#lookMs - this.#clock.monotonicMs());
  }

  /** Forgets what was observed: the connection failed meanwhile. */
  reset(): void {
    this.#silences.clear();
    this.#sources = [];
  }

  /** @param onOwn is called with how many entries the server has pending for this member itself */
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
        nowMs: wallMs(this.#clock),
      });
      taken.push(...deliveries);
      source.after = after;
      if (after === null) this.#sources.shift();
    }
    return taken;
  }

  async #look(client: Redis, onOwn: (stream: Stream, pending: number) => void): Promise<void> {
    const sources: Source[] = [];
    const nowMs = this.#clock.monotonicMs();
    // after a pause in looking, silences measured before it prove nothing
    if (nowMs - this.#lookedMs > this.#takeoverMs / 2 + this.#lookMs) this.#silences.clear();
    const answers = await Promise.all(
      this.#streams.map(async (stream) => ({
        stream,
        consumers: await readConsumers(client, stream.key, this.#group),
      })),
    );
    this.#lookedMs = this.#clock.monotonicMs();
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

interface Pending {
  id: string;
  /** how often it was handed out so far */
  deliveries: number;
}

export interface Claim {
  stream: Stream;
  group: string;
  /** whose entries */
  from: string;
  /** who takes them */
  to: string;
  /** entries handed out more recently are left alone, ms: of two claiming members one gets each entry */
  minIdleMs: number;
  limit: number;
  /** ids to skip */
  skip?: ReadonlySet<string> | undefined;
  /** where the last call stopped; null: at the beginning */
  after?: string | null;
  /** our clock, ms since 1970 */
  nowMs: number;
}

/** Claims entries that are pending for a consumer. @returns `after`: where to go on; null: there are no more */
export async function claim(
  client: Redis,
  wanted: Claim,
): Promise<{ deliveries: Delivery[]; after: string | null }> {
  const deliveries: Delivery[] = [];
  let after = wanted.after ?? null;
  for (;;) {
    const page = await pendingOf(client, wanted, after);
    const chosen = page
      .filter(({ id }) => wanted.skip?.has(id) !== true)
      .slice(0, wanted.limit - deliveries.length);
    deliveries.push(...(await take(client, wanted, chosen)));
    const isFull = deliveries.length >= wanted.limit;
    const last = isFull ? chosen.at(-1) : page.at(-1);
    if (page.length < PAGE && last?.id === page.at(-1)?.id) return { deliveries, after: null };
    after = last?.id ?? null;
    if (isFull) return { deliveries, after };
  }
}

/** Makes everything that is pending for `from` free for any member. @returns how many entries */
export async function giveBack(client: Redis, stream: Stream, group: string, from: string): Promise<number> {
  let count = 0;
  for (;;) {
    const page = await pendingOf(client, { stream, group, from }, null);
    if (page.length === 0) return count;
    const ids = page.map(({ id }) => id);
    await client.xclaim(stream.key, group, GIVEN_BACK, 0, ...ids, 'IDLE', GIVEN_BACK_IDLE_MS, 'JUSTID');
    count += ids.length;
  }
}

async function pendingOf(
  client: Redis,
  { stream, group, from }: Pick<Claim, 'stream' | 'group' | 'from'>,
  after: string | null,
): Promise<Pending[]> {
  const start = after === null ? '-' : `(${after}`;
  const reply = (await client.xpending(stream.key, group, start, '+', PAGE, from)) as Reply[];
  return reply.map((entry) => {
    const [id, , , deliveries] = entry as [string, string, number, number];
    return { id, deliveries };
  });
}

async function take(client: Redis, wanted: Claim, chosen: readonly Pending[]): Promise<Delivery[]> {
  if (chosen.length === 0) return [];
  const { stream, group, to, minIdleMs } = wanted;
  const ids = chosen.map(({ id }) => id);
  const reply = await client.callBuffer('XCLAIM', [stream.key, group, to, String(minIdleMs), ...ids]);
  const claimed = new Map<string, RawEntry>();
  for (const entry of reply as (RawEntry | null)[]) {
    if (entry !== null) claimed.set(entry[0].toString('latin1'), entry);
  }
  const deliveries: Delivery[] = [];
  for (const { id, deliveries: before } of chosen) {
    const entry = claimed.get(id) ?? (await bodyless(client, stream.key, id));
    if (entry === null) continue;
    deliveries.push(toDelivery(stream.topic, stream.partition, entry, before + 1, wanted.nowMs));
  }
  return deliveries;
}

/** An entry that could not be claimed was deleted (the claim made the server forget it), or another member has it. */
async function bodyless(client: Redis, key: string, id: string): Promise<RawEntry | null> {
  const found = await client.xrangeBuffer(key, id, id);
  return found.length === 0 ? [Buffer.from(id), null] : null;
}
