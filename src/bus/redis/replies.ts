import type { Redis } from 'ioredis';
import { replyWord } from './errors.ts';

/** a stream may be created and deleted while it is asked about */
const ATTEMPTS = 3;

/** A reply of RESP2, strings as text: numbers, strings, null, and arrays of them. */
export type Reply = string | number | null | Reply[];

/** XINFO's answers are lists of name, value, name, value. */
export function fieldsOf(reply: Reply): Map<string, Reply> {
  const fields = new Map<string, Reply>();
  if (!Array.isArray(reply)) return fields;
  for (let at = 0; at + 1 < reply.length; at += 2) fields.set(String(reply[at]), reply[at + 1]);
  return fields;
}

export interface GroupReply {
  name: string;
  pending: number;
  lastDelivered: string;
  /** as the server counts; null: it cannot tell, or is older than 7.0 */
  lag: number | null;
}

export interface ConsumerReply {
  name: string;
  pending: number;
  /** since it last asked for something, ms */
  idleMs: number;
}

/** Groups of a stream; none when there is no such stream. */
export async function readGroups(client: Redis, key: string): Promise<GroupReply[]> {
  const reply = await ifStream(client, key, () => client.xinfo('GROUPS', key));
  return asList(reply).map((group) => {
    const fields = fieldsOf(group);
    const lag = fields.get('lag');
    return {
      name: String(fields.get('name')),
      pending: Number(fields.get('pending')),
      lastDelivered: String(fields.get('last-delivered-id')),
      lag: typeof lag === 'number' ? lag : null,
    };
  });
}

export async function readConsumers(client: Redis, key: string, group: string): Promise<ConsumerReply[]> {
  const reply = await ifStream(client, key, () => client.xinfo('CONSUMERS', key, group));
  return asList(reply).map((consumer) => {
    const fields = fieldsOf(consumer);
    return {
      name: String(fields.get('name')),
      pending: Number(fields.get('pending')),
      idleMs: Number(fields.get('idle')),
    };
  });
}

/** Id of the newest entry ever added; null when there is no stream. */
export async function readLastGenerated(client: Redis, key: string): Promise<string | null> {
  const reply = await ifStream(client, key, () => client.xinfo('STREAM', key));
  return reply === null ? null : String(fieldsOf(reply).get('last-generated-id'));
}

/** The lowest entry handed out and not acknowledged; null when there is none. */
export async function readLowestPending(client: Redis, key: string, group: string): Promise<string | null> {
  const reply = (await client.xpending(key, group)) as Reply;
  const lowest = Array.isArray(reply) ? reply[1] : null;
  return typeof lowest === 'string' ? lowest : null;
}

/** The first entry beyond a position; null when there is none. Only its id is of interest. */
export async function readNextId(client: Redis, key: string, after: string): Promise<string | null> {
  const entries = await client.xrangeBuffer(key, `(${after}`, '+', 'COUNT', 1);
  return entries[0]?.[0].toString('latin1') ?? null;
}

/** ms since 1970 by the server's clock */
export async function readServerMs(client: Redis): Promise<number> {
  const [seconds, micros] = (await client.time()).map(Number) as [number, number];
  return seconds * 1000 + Math.floor(micros / 1000);
}

/** Null instead of an error when there is no such stream: it is made by its first entry or group. */
async function ifStream(client: Redis, key: string, ask: () => Promise<unknown>): Promise<Reply> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await ask()) as Reply;
    } catch (error) {
      // the error has no code word of its own, and the stream may have been made since
      if (replyWord(error) !== 'ERR') throw error;
      if ((await client.exists(key)) === 0) return null;
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

function asList(reply: Reply): Reply[] {
  return Array.isArray(reply) ? reply : [];
}
