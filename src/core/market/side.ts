import type { Side } from './event.ts';

const SIDES: ReadonlyMap<unknown, Side> = new Map<unknown, Side>([
  ...['buy', 'b', 'bid', '1', 1].map((spelling): [unknown, Side] => [spelling, 1]),
  ...['sell', 's', 'ask', '-1', -1].map((spelling): [unknown, Side] => [spelling, -1]),
]);

/** The aggressor's side in any known spelling and case; null for anything else: the trade is worth more than its side. */
export function sideOf(value: unknown): Side | null {
  return SIDES.get(value) ?? (typeof value === 'string' ? (SIDES.get(value.toLowerCase()) ?? null) : null);
}
