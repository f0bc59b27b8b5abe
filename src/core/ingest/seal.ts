/** The batch that is being built, as the reader sees it. */
export interface OpenBatch {
  ticks: number;
  /** since its first frame arrived, ms */
  ageMs: number;
}

export interface SealLimits {
  /** BATCH_SIZE: worth a transaction of its own, ticks */
  batchTicks: number;
  /** BATCH_MAX: the largest batch, ticks */
  batchTicksMax: number;
  /** FLUSH_INTERVAL, ms */
  flushMs: number;
  /** batches that may be beyond the reader at once: one for each writer and each parser */
  inFlightMax: number;
}

/**
 * Whether the open batch is sealed now. While all parsers and writers are busy it grows towards BATCH_MAX instead: none
 * could take it, so waiting costs no latency, and a larger transaction costs less per tick.
 *
 * @param ticksMax what the database takes in time at the moment, at most BATCH_MAX
 */
export function shouldSeal(
  batch: OpenBatch,
  inFlight: number,
  limits: SealLimits,
  ticksMax = limits.batchTicksMax,
): boolean {
  if (batch.ticks >= ticksMax) return true;
  if (inFlight >= limits.inFlightMax) return false;
  return batch.ticks >= limits.batchTicks || batch.ageMs >= limits.flushMs;
}
