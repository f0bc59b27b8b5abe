import { createHash } from 'node:crypto';
import type { Delivery, StreamBus } from '../../bus/bus.ts';
import { DEAD_LETTER_TOPIC, decodeDeadLetter, type MarketDeadLetter } from '../../core/market/dead-letter.ts';
import {
  decodeResolution,
  resolvedKey,
  resolvedKeyOf,
  type ResolvedBy,
} from '../../core/market/resolution.ts';
import type { Micros } from '../../core/time.ts';

/** Records read at once. Each may be 1 MiB: about 32 MiB are in memory at a time. */
const PAGE = 32;
/** of a key's digest: enough to tell a million of them apart */
const SEEN_DIGEST = { outputLength: 12 };

export type DeadLetterBus = Pick<StreamBus, 'partitions' | 'tail' | 'read'>;

/** How a dead letter was resolved. */
export interface Resolved {
  by: ResolvedBy;
  at: Micros;
  /** where its record was published again; null: it was not */
  msgId: string | null;
}

/** By resolvedKey(). */
export type ResolvedDeadLetters = ReadonlyMap<string, Resolved>;

/** Where a dead letter stands on its topic. */
export interface Place {
  partition: number;
  position: string;
}

export type VisitDeadLetter = (
  deadLetter: MarketDeadLetter,
  key: string,
  place: Place,
) => Promise<void> | void;

/**
 * Visits every dead letter that is on the bus now, the oldest first, each once; resolves with those that are resolved. Beside
 * a page of records, memory holds some 60 bytes for each dead letter: the share of the topic bounds them.
 *
 * @param signal rejects with its reason between two pages
 */
export async function eachDeadLetter(
  bus: DeadLetterBus,
  visit: VisitDeadLetter,
  signal?: AbortSignal,
): Promise<ResolvedDeadLetters> {
  const seen = new Set<string>();
  const resolved = new Map<string, Resolved>();
  for (let partition = 0; partition < bus.partitions(DEAD_LETTER_TOPIC); partition += 1) {
    // what comes meanwhile is left out: a retry makes new ones
    const last = (await bus.tail(DEAD_LETTER_TOPIC, partition, 1)).at(-1)?.position;
    for (let after: string | null = null; after !== last;) {
      signal?.throwIfAborted();
      const records: Delivery[] = await bus.read(DEAD_LETTER_TOPIC, partition, after, PAGE);
      if (records.length === 0) break;
      for (const { data, position } of records) {
        after = position;
        const deadLetter = data === null ? null : decodeDeadLetter(data);
        if (deadLetter !== null) {
          const key = resolvedKeyOf(deadLetter);
          if (isNew(seen, key)) await visit(deadLetter, key, { partition, position });
        } else if (data !== null) addResolved(resolved, data);
        if (position === last) break;
      }
    }
  }
  return resolved;
}

/** Keys are as long as topic and id; a topic may hold hundreds of thousands. */
function isNew(seen: Set<string>, key: string): boolean {
  const digest = createHash('shake128', SEEN_DIGEST).update(key).digest('base64url');
  if (seen.has(digest)) return false;
  seen.add(digest);
  return true;
}

function addResolved(resolved: Map<string, Resolved>, data: Uint8Array): void {
  const resolution = decodeResolution(data);
  if (resolution === null) return;
  const { by, at, deadLetters } = resolution;
  for (const each of deadLetters) resolved.set(resolvedKey(each), { by, at, msgId: each.msgId });
}
