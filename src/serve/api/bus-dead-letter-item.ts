import type { Column, Value } from '../../core/table/column.ts';
import type { ListedDeadLetter } from '../../stream/dead-letters/list.ts';
import { itemOf } from './items.ts';

/** As `mdp dlq list --bus --json` has them. */
export const BUS_DEAD_LETTER_COLUMNS: readonly Column[] = [
  { name: 'event_id', type: 'text' },
  { name: 'source', type: 'text', constant: 'bus' },
  { name: 'topic', type: 'text', repeats: true },
  { name: 'msg_id', type: 'text' },
  { name: 'group', type: 'text', repeats: true },
  { name: 'reason', type: 'text', repeats: true },
  { name: 'detail', type: 'text' },
  { name: 'key', type: 'text', repeats: true },
  { name: 'encoding', type: 'text', repeats: true },
  { name: 'bytes', type: 'count' },
  { name: 'is_cut', type: 'bool' },
  { name: 'raw_sha256', type: 'hex' },
  { name: 'at', type: 'timestamp' },
  { name: 'status', type: 'text', repeats: true },
  { name: 'resolved_by', type: 'text', repeats: true },
  { name: 'resolved_at', type: 'timestamp' },
  { name: 'published_as', type: 'text' },
];

export const busDeadLetter = itemOf(BUS_DEAD_LETTER_COLUMNS, {
  id: 'BusDeadLetter',
  description: 'A record of the bus that could not be used',
  nullable: ['msg_id', 'group', 'key', 'resolved_by', 'resolved_at', 'published_as'],
});

export function busDeadLetterRow(deadLetter: ListedDeadLetter): Record<string, Value> {
  const { id, topic, msgId, group, reason, detail, key, encoding } = deadLetter;
  const { rawBytes, isCut, rawSha256, at, resolved } = deadLetter;
  return {
    event_id: id,
    topic,
    msg_id: msgId,
    group,
    reason,
    detail,
    key,
    encoding,
    bytes: BigInt(rawBytes),
    is_cut: isCut,
    raw_sha256: rawSha256,
    at,
    status: resolved === null ? 'open' : 'resolved',
    resolved_by: resolved?.by ?? null,
    resolved_at: resolved?.at ?? null,
    published_as: resolved?.msgId ?? null,
  };
}
