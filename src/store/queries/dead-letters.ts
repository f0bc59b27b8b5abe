import { selectList, textLiteral, type Query, type SqlColumn } from './query.ts';

/** dead_letters: of the chain. Those of the market are on the bus. */

export interface DeadLettersFilter {
  status: 'open' | 'resolved' | null;
  reason: string | null;
}

export const DEAD_LETTER_COLUMNS: readonly SqlColumn[] = [
  { name: 'dead_letter_id', type: 'count' },
  { name: 'source', type: 'text', constant: 'chain' },
  { name: 'tick_number', type: 'uint64', sql: 'tick_number::text' },
  { name: 'after_tick', type: 'int64' },
  { name: 'reason', type: 'text', repeats: true },
  { name: 'detail', type: 'text' },
  { name: 'sqlstate', type: 'text' },
  { name: 'bytes', type: 'count', sql: 'octet_length(raw)::bigint' },
  { name: 'raw_sha256', type: 'hex', sql: "encode(raw_sha256, 'hex')" },
  { name: 'status', type: 'text', repeats: true },
  { name: 'created_at', type: 'timestamp' },
  { name: 'resolved_at', type: 'timestamp' },
];

/** The one of an id, with its bytes in base64: one row, or none. */
export function deadLetter(id: bigint): Query {
  const columns: readonly SqlColumn[] = [
    ...DEAD_LETTER_COLUMNS,
    // encode() breaks its lines
    { name: 'raw', type: 'text', sql: "translate(encode(raw, 'base64'), E'\\n', '')" },
  ];
  return {
    columns,
    sql: `SELECT ${selectList(columns)} FROM dead_letters WHERE dead_letter_id = ${id}`,
  };
}

/** The newest first. */
export function deadLetters({ status, reason }: DeadLettersFilter, before: bigint | null): Query {
  const conditions = ['true'];
  if (status !== null) conditions.push(`status = '${status}'`);
  if (reason !== null) conditions.push(`reason = ${textLiteral(reason)}`);
  if (before !== null) conditions.push(`dead_letter_id < ${before}`);
  return {
    columns: DEAD_LETTER_COLUMNS,
    sql: `SELECT ${selectList(DEAD_LETTER_COLUMNS)} FROM dead_letters WHERE ${conditions.join(' AND ')} ORDER BY dead_letter_id DESC`,
  };
}
