/** How full a bus may get before what is done about it. Shares are of what it may hold. */
export interface RoomLimits {
  /** from here on acknowledged records are trimmed at once */
  crampedShare: number;
  /** from here on publishers wait … */
  fullShare: number;
  /** … until it is below this again: publishers are not to start and stop with every record */
  relievedShare: number;
  /** acknowledged records stay so long while there is room, ms */
  acknowledgedMs: number;
  /** records of a topic without groups stay so long, ms */
  retentionMs: number;
}

export const ROOM_LIMITS: RoomLimits = {
  crampedShare: 0.5,
  fullShare: 0.8,
  relievedShare: 0.75,
  acknowledgedMs: 10 * 60_000,
  retentionMs: 24 * 3_600_000,
};

export interface RoomVerdict {
  policy: { acknowledgedMs: number; retentionMs: number };
  isCramped: boolean;
  isFull: boolean;
}

/** What may be trimmed and whether publishers wait, of bytes held and bytes that may be held. */
export function judgeRoom(
  usage: { bytes: number; maxBytes: number },
  wasFull: boolean,
  limits: RoomLimits = ROOM_LIMITS,
): RoomVerdict {
  // a bus that may hold nothing is full
  const share = usage.maxBytes > 0 ? usage.bytes / usage.maxBytes : Infinity;
  const isCramped = share >= limits.crampedShare;
  return {
    policy: { acknowledgedMs: isCramped ? 0 : limits.acknowledgedMs, retentionMs: limits.retentionMs },
    isCramped,
    isFull: share >= (wasFull ? limits.relievedShare : limits.fullShare),
  };
}
