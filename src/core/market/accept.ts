import type { Micros } from '../time.ts';
import { decodeEvent, type EventEncoding } from './codec/decode.ts';
import type { DeadLetterReason } from './dead-letter.ts';
import type { MarketEvent } from './event.ts';

/** An event time more than this ahead of its ingest time is considered a mistake. Spec §7. */
const AHEAD_MICROS_MAX: Micros = 60_000_000n;

export interface NotAccepted {
  kind: 'refused';
  reason: DeadLetterReason;
  detail: string;
}

/**
 * Decodes an event, or says why no role may use it: malformed bytes, or a time in the future. One rule for all roles,
 * because bars are recomputed from what the tick consumer stored.
 *
 * @param takenMs when the bus took it, ms since 1970; replaces an absent ingest_ts
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
