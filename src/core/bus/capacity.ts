/** How full a bus may get before what is done about it. Shares are of what it may hold. */
export interface CapacityLimits {
  /** from here on acknowledged records are trimmed at once */
  trimShare: number;
  /** from here on publishers wait … */
  fullShare: number;
  /** … until it is below this again: publishers are not to start and stop with every record */
  relievedShare: number;
  /** acknowledged records stay so long while there is room, ms */
  acknowledgedMs: number;
  /** records of a topic without groups stay so long, ms */
  retentionMs: number;
}

export const CAPACITY_LIMITS: CapacityLimits = {
  trimShare: 0.5,
  fullShare: 0.8,
  relievedShare: 0.75,
  acknowledgedMs: 10 * 60_000,
  retentionMs: 24 * 3_600_000,
};

export interface CapacityVerdict {
  policy: { acknowledgedMs: number; retentionMs: number };
  isFilling: boolean;
  isFull: boolean;
}

/** What may be trimmed and whether publishers wait, of bytes held and bytes that may be held. */
export function judgeCapacity(
  usage: { bytes: number; maxBytes: number },
  wasFull: boolean,
  limits: CapacityLimits = CAPACITY_LIMITS,
): CapacityVerdict {
  // a bus that may hold nothing is full
  const share = usage.maxBytes > 0 ? usage.bytes / usage.maxBytes : Infinity;
  const isFilling = share >= limits.trimShare;
  return {
    policy: { acknowledgedMs: isFilling ? 0 : limits.acknowledgedMs, retentionMs: limits.retentionMs },
    isFilling,
    isFull: share >= (wasFull ? limits.relievedShare : limits.fullShare),
  };
}

/** Whether producers must wait, and what they tell of how their records were taken. */
export interface Backpressure {
  readonly full: boolean;
  /** Resolves when it no longer is. */
  relieved(): Promise<void>;
  /** The bus refused records for want of memory or disk. */
  reportFull(): void;
  /** The bus took records. */
  reportTaken(): void;
}
