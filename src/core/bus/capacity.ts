/** Fill levels of a bus and what happens at each. Shares are fractions of its maximum size. */
export interface CapacityLimits {
  /** from here on acknowledged records are trimmed immediately */
  trimShare: number;
  /** from here on publishers wait … */
  fullShare: number;
  /** … until it drops below this: hysteresis, so that publishers do not start and stop with every record */
  relievedShare: number;
  /** how long acknowledged records are kept while below trimShare, ms */
  acknowledgedMs: number;
  /** how long records of a topic without groups are kept, ms */
  retentionMs: number;
  /** how long dead letters are kept, ms */
  deadLetterMs: number;
  /** what dead letters may take of the maximum: beyond it the oldest of them go, or they would fill the bus */
  deadLetterShare: number;
  /** what signals may take of it, as long as no group still needs them: they are in their table, too */
  signalShare: number;
}

export const CAPACITY_LIMITS: CapacityLimits = {
  trimShare: 0.5,
  fullShare: 0.8,
  relievedShare: 0.75,
  acknowledgedMs: 10 * 60_000,
  retentionMs: 24 * 3_600_000,
  deadLetterMs: 30 * 24 * 3_600_000,
  deadLetterShare: 0.1,
  signalShare: 0.1,
};

export interface CapacityVerdict {
  policy: { acknowledgedMs: number; retentionMs: number };
  isFilling: boolean;
  isFull: boolean;
}

/** What may be trimmed and whether publishers wait, given the bytes used and the maximum. */
export function judgeCapacity(
  usage: { bytes: number; maxBytes: number },
  wasFull: boolean,
  limits: CapacityLimits = CAPACITY_LIMITS,
): CapacityVerdict {
  // a bus with a maximum of 0 is always full
  const share = usage.maxBytes > 0 ? usage.bytes / usage.maxBytes : Infinity;
  const isFilling = share >= limits.trimShare;
  return {
    policy: { acknowledgedMs: isFilling ? 0 : limits.acknowledgedMs, retentionMs: limits.retentionMs },
    isFilling,
    isFull: share >= (wasFull ? limits.relievedShare : limits.fullShare),
  };
}

/** Tells producers whether to wait, and takes their reports of how the bus responded. */
export interface Backpressure {
  readonly full: boolean;
  /** Resolves when the bus is no longer full. */
  relieved(): Promise<void>;
  /** The bus refused records for lack of memory or disk. */
  reportFull(): void;
  /** The bus accepted records. */
  reportTaken(): void;
}
