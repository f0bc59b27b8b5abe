import type { Redis } from 'ioredis';
import type { BusUsage } from '../bus.ts';
import type { TrimBounds } from '../log-ages.ts';
import { neededFrom, type Stream } from './group/groups.ts';
import { lowerPosition, positionAfter } from './stream-id.ts';
import { readGroups, readServerMs } from './replies.ts';
import { infoField, permitted } from './server-settings.ts';

/** a group that was seen within this time may have vanished by mistake: its members will create it again, ms */
const VANISHED_MS = 60_000;

interface Needed {
  group: string;
  from: string;
  seenMs: number;
}

/** Trims streams below what any group needs, groups that vanished only recently included. */
export class RedisTrimmer {
  readonly #needed = new Map<string, Needed[]>();

  /**
   * Removes what lies within the bounds and every group has acknowledged. @returns how many entries
   * @param neededBy a group without which nothing may be trimmed: it needs all, and has not begun
   */
  async trim(
    client: Redis,
    { key }: Stream,
    bounds: TrimBounds,
    neededBy: string | null = null,
  ): Promise<number> {
    const [groups, nowMs] = await Promise.all([readGroups(client, key), readServerMs(client)]);
    if (neededBy !== null && groups.every(({ name }) => name !== neededBy)) return 0;
    const needed = await Promise.all(
      groups.map(async (group) => ({
        group: group.name,
        from: await neededFrom(client, key, group),
        seenMs: nowMs,
      })),
    );
    for (const known of this.#needed.get(key) ?? []) {
      const isGone = needed.every(({ group }) => group !== known.group);
      if (isGone && nowMs - known.seenMs < VANISHED_MS) needed.push(known);
    }
    this.#needed.set(key, needed);
    const upTo = needed.length === 0 ? bounds.unclaimed : bounds.acknowledged;
    if (upTo === null) return 0;
    let firstKept = positionAfter(upTo);
    for (const { from } of needed) firstKept = lowerPosition(firstKept, from);
    return trimBelow(client, key, firstKept);
  }

  /** The group was dropped on purpose: its entries may be trimmed at once. */
  forget(key: string, group: string): void {
    this.#needed.set(
      key,
      (this.#needed.get(key) ?? []).filter((known) => known.group !== group),
    );
  }
}

/**
 * XTRIM alone leaves no trace. The highest entry of what goes is deleted first, by its id, so that the stream's
 * max-deleted-entry-id tells followers (follower.ts) up to where entries are missing.
 */
async function trimBelow(client: Redis, key: string, firstKept: string): Promise<number> {
  const [highest] = await client.xrevrangeBuffer(key, `(${firstKept}`, '-', 'COUNT', 1);
  if (highest === undefined) return 0;
  // no transaction: a Redis that is full refuses to queue one. What goes in between the two would be told as missing a moment early
  const [deleted, trimmed] = await Promise.all([
    client.xdel(key, highest[0].toString('latin1')),
    client.xtrim(key, 'MINID', '=', firstKept),
  ]);
  return deleted + trimmed;
}

export interface MemoryReply {
  usage: BusUsage;
  /** of the server; null: not readable */
  maxmemory: number | null;
  policy: string | null;
}

/** The streams against `maxBytes`, or the whole server against its maxmemory, whichever is fuller. */
export async function readMemory(
  client: Redis,
  streams: readonly Stream[],
  maxBytes: number,
): Promise<MemoryReply> {
  const [info, sizes] = await Promise.all([
    permitted(client.info('memory')),
    Promise.all(streams.map(({ key }) => client.memory('USAGE', key))),
  ]);
  const topics = new Map<string, number>();
  let bytes = 0;
  for (const [at, { topic }] of streams.entries()) {
    const size = sizes[at] ?? 0;
    bytes += size;
    topics.set(topic, (topics.get(topic) ?? 0) + size);
  }
  const maxmemory = infoField(info, 'maxmemory');
  const limit = Number(maxmemory ?? 0);
  const used = Number(infoField(info, 'used_memory') ?? 0);
  const isServerFuller = limit > 0 && used / limit > bytes / maxBytes;
  return {
    usage: { ...(isServerFuller ? { bytes: used, maxBytes: limit } : { bytes, maxBytes }), topics },
    maxmemory: maxmemory === null ? null : limit,
    policy: infoField(info, 'maxmemory_policy'),
  };
}
