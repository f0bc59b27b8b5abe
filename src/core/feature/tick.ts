import type { Side } from '../market/event.ts';

/** A market tick as features see it. In the order of (tsUs, seq) within its symbol. */
export interface FeatureTick {
  /** when it happened, µs since 1970 */
  tsUs: number;
  seq: bigint;
  /** finite */
  price: number;
  /** ≥ 0; null counts 0 */
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: Side | null;
}
