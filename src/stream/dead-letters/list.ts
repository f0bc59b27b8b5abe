import type { StreamBus } from '../../bus/bus.ts';
import { deadLetterId, type MarketDeadLetter } from '../../core/market/dead-letter.ts';
import {
  eachDeadLetter,
  type DeadLetterBus,
  type Place,
  type Resolved,
  type ResolvedDeadLetters,
} from './topic.ts';

/** A dead letter without the bytes of its record. */
export interface ListedDeadLetter extends Omit<MarketDeadLetter, 'raw'> {
  /** topic|msg_id */
  id: string;
  /** its bytes are not all kept */
  isCut: boolean;
  /** null: it is open */
  resolved: Resolved | null;
  place: Place;
}

export interface DeadLetterQuery {
  status: 'open' | 'resolved' | 'all';
  /** null: every one */
  reason: string | null;
  /** the last one of the page before; null: from the newest on */
  before: Place | null;
  /** so many are listed at most, and twice as many in memory: without their bytes, each some 1 KB */
  limit: number;
}

export interface DeadLetterPage {
  /** the newest first */
  deadLetters: ListedDeadLetter[];
  /** how many there are, from `before` on */
  total: number;
}

/**
 * The newest dead letters on the bus, each once, by where it came first. What is resolved is said behind it on the topic, so
 * all of that is read: once, or twice where the status matters and something is resolved. Rejects with BusError, and with the
 * signal's reason. One that is resolved meanwhile is listed as it is then.
 */
export async function listDeadLetters(
  bus: DeadLetterBus & Pick<StreamBus, 'compare'>,
  { status, reason, before, limit }: DeadLetterQuery,
  signal?: AbortSignal,
): Promise<DeadLetterPage> {
  let known: ResolvedDeadLetters = new Map();
  for (let pass = 1; ; pass += 1) {
    const newest: { deadLetter: Omit<ListedDeadLetter, 'resolved'>; key: string }[] = [];
    let total = 0;
    const found = await eachDeadLetter(
      bus,
      (deadLetter, key, place) => {
        if (reason !== null && deadLetter.reason !== reason) return;
        if (before !== null && !isBefore(bus, place, before)) return;
        if (status !== 'all' && known.has(key) !== (status === 'resolved')) return;
        total += 1;
        newest.push({ deadLetter: withoutRaw(deadLetter, place), key });
        // now and then, so that an entry is moved once on average
        if (newest.length >= 2 * limit) newest.splice(0, newest.length - limit);
      },
      signal,
    );
    if (status === 'all' || found.size === known.size || pass === 2) {
      const deadLetters = newest
        .slice(-limit)
        .toReversed()
        .map(({ deadLetter, key }) => ({ ...deadLetter, resolved: found.get(key) ?? null }));
      return { deadLetters, total };
    }
    known = found;
  }
}

/** With its bytes. Null: there is none of this id. Of a topic that was made anew there may be two: the newer one is of what is there now. */
export async function findDeadLetter(
  bus: DeadLetterBus,
  id: string,
  signal?: AbortSignal,
): Promise<(ListedDeadLetter & Pick<MarketDeadLetter, 'raw'>) | null> {
  const newest: { deadLetter: MarketDeadLetter; key: string; place: Place }[] = [];
  const resolved = await eachDeadLetter(
    bus,
    (deadLetter, key, place) => {
      if (deadLetterId(deadLetter) === id) newest[0] = { deadLetter, key, place };
    },
    signal,
  );
  if (newest.length === 0) return null;
  const [{ deadLetter, key, place }] = newest;
  return {
    ...withoutRaw(deadLetter, place),
    resolved: resolved.get(key) ?? null,
    raw: deadLetter.raw,
  };
}

/** Partitions come one after the other, as they are read. */
function isBefore(bus: Pick<StreamBus, 'compare'>, a: Place, b: Place): boolean {
  return a.partition === b.partition ? bus.compare(a.position, b.position) < 0 : a.partition < b.partition;
}

function withoutRaw(deadLetter: MarketDeadLetter, place: Place): Omit<ListedDeadLetter, 'resolved'> {
  const { raw, ...rest } = deadLetter;
  return { ...rest, id: deadLetterId(deadLetter), isCut: deadLetter.rawBytes > raw.length, place };
}
