import type { Micros } from '../time.ts';
import { decodeEvent, type EventEncoding } from './codec/decode.ts';
import type { DeadLetterReason } from './dead-letter.ts';
import type { MarketEvent } from './event.ts';

/** A time of its own further than this ahead of the time it was taken is no time but a mistake. Spec §7. */
const AHEAD_MICROS_MAX: Micros = 60_000_000n;

export interface NotAccepted {
  kind: 'refused';
  reason: DeadLetterReason;
  detail: string;
}

/**
 * An event that every role may use, or why none may: the bytes are malformed, or its time lies ahead. One rule for all
 * roles, because bars are recomputed from what the tick consumer stored.
 *
 * @param takenMs when the bus took it, ms since 1970: stands for an absent ingest_ts
 */
export function acceptEvent(
  data: Uint8Array,
  encoding: EventEncoding,
  takenMs: number,
): MarketEvent | NotAccepted {
  const event = decodeEvent(data, encoding);
  if (event.kind === 'refused') return event;
  const takenAt = event.ingestTs ?? BigInt(takenMs) * 1000n;
  if (event.srcTs - takenAt > AHEAD_MICROS_MAX) {
    const seconds = Number((event.srcTs - takenAt) / 1_000_000n);
    return {
      kind: 'refused',
      reason: 'future',
      detail: `src_ts is ${seconds} s ahead of the time it was taken`,
    };
  }
  return event;
}
