import type { Redis } from 'ioredis';
import type { Delivery } from '../bus.ts';
import { toDelivery, type RawEntry } from './entry.ts';
import { GIVEN_BACK, type Stream } from './groups.ts';
import type { Reply } from './replies.ts';

const PAGE = 1000;
/** what was given back looks as if nobody had touched it for so long, ms: any member may take it at once */
const GIVEN_BACK_IDLE_MS = 365 * 86_400_000;

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
  /** entries handed out less long ago are left alone, ms: of two that claim, one gets each */
  minIdleMs: number;
  limit: number;
  /** entries to pass over */
  skip?: ReadonlySet<string> | undefined;
  /** where the last call stopped */
  after?: string | null;
}

/** Takes entries that are pending for a consumer. `after`: where to go on; null: there were no more. */
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

/** Leaves everything that is pending for `from` to whoever comes. @returns how many */
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
    deliveries.push(toDelivery(stream.topic, stream.partition, entry, before + 1));
  }
  return deliveries;
}

/** An entry that could not be claimed was deleted (then the server forgot it by the claim), or somebody else has it. */
async function bodyless(client: Redis, key: string, id: string): Promise<RawEntry | null> {
  const found = await client.xrangeBuffer(key, id, id);
  return found.length === 0 ? [Buffer.from(id), null] : null;
}
