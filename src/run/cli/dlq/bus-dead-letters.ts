/** The dead letters on the bus, and what became of them. */
import type { Delivery, StreamBus } from '../../../bus/bus.ts';
import {
  DEAD_LETTER_TOPIC,
  decodeDeadLetter,
  type MarketDeadLetter,
} from '../../../core/market/dead-letter.ts';
import {
  decodeResolution,
  encodeResolution,
  resolvedKey,
  resolvedKeyOf,
  type ResolvedBy,
  type ResolvedDeadLetter,
} from '../../../core/market/resolution.ts';
import type { Clock, Micros } from '../../../core/time.ts';

/** Records read at once: a dead letter may be 1 MiB. */
const PAGE = 100;
/** dead letters that one record resolves */
const RESOLVED_MAX = 100;

/** How a dead letter was resolved. */
export interface Resolved {
  by: ResolvedBy;
  at: Micros;
  /** where its record was published again; null: it was not */
  msgId: string | null;
}

/** By resolvedKey(). */
export type ResolvedDeadLetters = ReadonlyMap<string, Resolved>;

/** Every dead letter that is on the bus now, the oldest first, each once; resolves with those that are resolved. */
export async function eachDeadLetter(
  bus: StreamBus,
  visit: (deadLetter: MarketDeadLetter, key: string) => Promise<void> | void,
): Promise<ResolvedDeadLetters> {
  const seen = new Set<string>();
  const resolved = new Map<string, Resolved>();
  for (let partition = 0; partition < bus.partitions(DEAD_LETTER_TOPIC); partition += 1) {
    // what comes meanwhile is left out: a retry makes new ones
    const last = (await bus.tail(DEAD_LETTER_TOPIC, partition, 1)).at(-1)?.position;
    for (let after: string | null = null; after !== last;) {
      const records: Delivery[] = await bus.read(DEAD_LETTER_TOPIC, partition, after, PAGE);
      if (records.length === 0) break;
      for (const { data, position } of records) {
        after = position;
        const deadLetter = data === null ? null : decodeDeadLetter(data);
        if (deadLetter !== null) {
          const key = resolvedKeyOf(deadLetter);
          if (!seen.has(key)) await visit(deadLetter, key);
          seen.add(key);
        } else if (data !== null) addResolved(resolved, data);
        if (position === last) break;
      }
    }
  }
  return resolved;
}

function addResolved(resolved: Map<string, Resolved>, data: Uint8Array): void {
  const resolution = decodeResolution(data);
  if (resolution === null) return;
  const { by, at, deadLetters } = resolution;
  for (const each of deadLetters) resolved.set(resolvedKey(each), { by, at, msgId: each.msgId });
}

/** Publishes which dead letters are resolved, some at a time. */
export class ResolutionWriter {
  readonly #bus: Pick<StreamBus, 'publish'>;
  readonly #by: ResolvedBy;
  readonly #clock: Clock;
  #deadLetters: ResolvedDeadLetter[] = [];

  constructor(bus: Pick<StreamBus, 'publish'>, by: ResolvedBy, clock: Clock) {
    this.#bus = bus;
    this.#by = by;
    this.#clock = clock;
  }

  async add(deadLetter: ResolvedDeadLetter): Promise<void> {
    this.#deadLetters.push(deadLetter);
    if (this.#deadLetters.length >= RESOLVED_MAX) await this.flush();
  }

  /** Resolves when everything added is on the bus. Rejects with BusError. */
  async flush(): Promise<void> {
    if (this.#deadLetters.length === 0) return;
    const data = encodeResolution({
      by: this.#by,
      deadLetters: this.#deadLetters,
      at: this.#clock.nowMicros(),
    });
    await this.#bus.publish(DEAD_LETTER_TOPIC, [
      { key: DEAD_LETTER_TOPIC, eventId: null, data, encoding: 'json' },
    ]);
    this.#deadLetters = [];
  }
}
