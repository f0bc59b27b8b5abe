import type { DeadLetterFilter, DeadLetterInfo } from '../../../store/chain/dead-letters.ts';

/** `120`, or `after 119` of a frame without a usable number. */
export function placeText({ tick, afterTick }: Pick<DeadLetterInfo, 'tick' | 'afterTick'>): string {
  if (afterTick !== null) return `after ${afterTick}`;
  return tick ?? 'none';
}

/** u64 as strings, ids and bytes as numbers, times as ISO-8601. */
export function deadLetterJson(deadLetter: DeadLetterInfo): Record<string, unknown> {
  return {
    id: Number(deadLetter.id),
    source: 'chain',
    tick_number: deadLetter.tick,
    after_tick: deadLetter.afterTick,
    reason: deadLetter.reason,
    detail: deadLetter.detail,
    sqlstate: deadLetter.sqlstate,
    bytes: deadLetter.bytes,
    status: deadLetter.status,
    created_at: deadLetter.createdAt,
    resolved_at: deadLetter.resolvedAt,
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
