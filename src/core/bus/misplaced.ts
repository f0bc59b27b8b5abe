import { partitionOf } from './partitions.ts';

/** Where a record lies, and what decides where it should. */
export interface Placed {
  partition: number;
  /** the symbol that its content names, null when it names none */
  symbol: string | null;
}

/**
 * The partition that a record must be forwarded to, null when it lies where it should. Foreign programs (kcat, redis-cli)
 * choose partitions by rules of their own; a symbol in two partitions would be two states. A record without a symbol
 * belongs nowhere else: whoever reads it gives it its reason.
 */
export function forwardTo({ partition, symbol }: Placed, partitions: number): number | null {
  if (symbol === null || partitions === 1) return null;
  const right = partitionOf(symbol, partitions);
  return right === partition ? null : right;
}
