import type { Redis } from 'ioredis';
import type { BusUsage, TrimPolicy } from './bus.ts';
import { neededFrom, type Stream } from './redis-groups.ts';
import { lowerPosition } from './redis-position.ts';
import { readGroups, readServerMs } from './redis-reply.ts';
import { infoField, permitted } from './redis-server.ts';

/** What streams take, and what may go of them. */

/** Removes what every group has acknowledged and is old enough. @returns how many entries */
export async function trimStream(client: Redis, { key }: Stream, policy: TrimPolicy): Promise<number> {
  const [groups, nowMs] = await Promise.all([readGroups(client, key), readServerMs(client)]);
  const keptMs = groups.length === 0 ? policy.retentionMs : policy.acknowledgedMs;
  let firstKept = `${Math.max(0, Math.floor(nowMs - keptMs))}-0`;
  for (const group of groups) firstKept = lowerPosition(firstKept, await neededFrom(client, key, group));
  if (firstKept === '0-0' || firstKept === '0-1') return 0;
  return client.xtrim(key, 'MINID', '=', firstKept);
}

export interface RoomReply {
  usage: BusUsage;
  /** of the server; null: it does not tell us */
  maxmemory: number | null;
  policy: string | null;
}

/** The streams against `maxBytes`, or the whole server against its maxmemory, whichever is fuller. */
export async function readRoom(client: Redis, keys: readonly string[], maxBytes: number): Promise<RoomReply> {
  const [info, sizes] = await Promise.all([
    permitted(client.info('memory')),
    Promise.all(keys.map((key) => client.memory('USAGE', key))),
  ]);
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  const maxmemory = infoField(info, 'maxmemory');
  const limit = Number(maxmemory ?? 0);
  const used = Number(infoField(info, 'used_memory') ?? 0);
  const isServerFuller = limit > 0 && used / limit > bytes / maxBytes;
  return {
    usage: isServerFuller ? { bytes: used, maxBytes: limit } : { bytes, maxBytes },
    maxmemory: maxmemory === null ? null : limit,
    policy: infoField(info, 'maxmemory_policy'),
  };
}
