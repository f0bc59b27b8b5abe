import type { Micros } from '../time.ts';
import { decodeEvent, type EventEncoding } from './codec/decode.ts';
import type { DeadLetterReason } from './dead-letter.ts';
import type { MarketEvent } from './event.ts';
import type { Providers } from './identity/providers.ts';

/** An event time more than this ahead of its ingest time is considered a mistake. */
const AHEAD_MICROS_MAX: Micros = 60_000_000n;
/** An ingest time more than this ahead of when the bus took the event is of a clock that is wrong, µs. */
const INGEST_AHEAD_US_MAX = 86_400_000_000;

export interface NotAccepted {
  kind: 'refused';
  reason: DeadLetterReason;
  detail: string;
}

/**
 * Decodes an event, or says why no role may use it: malformed bytes, or a time in the future. One rule for all roles,
 * because bars are recomputed from what the tick consumer stored.
 *
 * @param takenMs when the bus took it, ms since 1970 (Delivery.takenMs); replaces an ingest_ts that is absent, or more than a
 *   day ahead of it: a producer whose clock is in another year could move a symbol's watermark there
 */
export function acceptEvent(
  data: Uint8Array,
  encoding: EventEncoding,
  takenMs: number,
  providers: Providers,
): MarketEvent | NotAccepted {
  const decoded = decodeEvent(data, encoding, providers);
  if (decoded.kind === 'refused') return decoded;
  const { ingestTs } = decoded;
  const isAhead = ingestTs !== null && Number(ingestTs) - takenMs * 1000 > INGEST_AHEAD_US_MAX;
  const event = isAhead ? { ...decoded, ingestTs: null } : decoded;
  const takenAt = event.ingestTs ?? BigInt(Math.floor(takenMs)) * 1000n;
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
