import type { DeadLetterFilter, DeadLetterInfo } from '../../../store/chain/dead-letters.ts';

/** `120`, or `after 119` of a frame without a usable number. */
export function placeText({ tick, afterTick }: Pick<DeadLetterInfo, 'tick' | 'afterTick'>): string {
  if (afterTick !== null) return `after ${afterTick}`;
  return tick ?? 'none';
}

/** u64 as strings, ids and bytes as numbers, times as ISO-8601. */
export function letterJson(letter: DeadLetterInfo): Record<string, unknown> {
  return {
    id: Number(letter.id),
    source: 'chain',
    tick_number: letter.tick,
    after_tick: letter.afterTick,
    reason: letter.reason,
    detail: letter.detail,
    sqlstate: letter.sqlstate,
    bytes: letter.bytes,
    status: letter.status,
    created_at: letter.createdAt,
    resolved_at: letter.resolvedAt,
  };
}

export function filterOf(
  status: 'open' | 'resolved' | 'all',
  reason: string | undefined,
  from?: bigint,
  to?: bigint,
): DeadLetterFilter {
  return {
    status: status === 'all' ? null : status,
    reason: reason ?? null,
    from: from ?? null,
    to: to ?? null,
  };
}
