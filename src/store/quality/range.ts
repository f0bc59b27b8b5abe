import type { Client } from 'pg';
import type { Micros } from '../../core/time.ts';
import type { TickChunks } from '../chunks/tick-chunks.ts';
import { withinSpan } from '../chunks/chunk-map.ts';

/** A tick number (the range includes both ends), or a time (half-open). */
export type QualityBound = { tick: bigint } | { micros: Micros };

/** Both ends included; `last` is below `first` when no number lies between the bounds. */
export interface QualityEnds {
  first: bigint;
  last: bigint;
}

/** null: an end of what is recorded */
export interface QualityBounds {
  from: QualityBound | null;
  to: QualityBound | null;
}

/**
 * The numbers between two bounds; null is an end of what is recorded. By time: from the lowest to the highest number
 * with a time in it, even if timestamps go backwards, plus the missing numbers directly adjacent, because it is unknown
 * on which side of the bound they were.
 */
export async function readEnds(
  client: Client,
  chunks: TickChunks,
  { from, to }: QualityBounds,
  recorded: QualityEnds,
): Promise<QualityEnds> {
  const after = from !== null && 'micros' in from ? from.micros : null;
  const before = to !== null && 'micros' in to ? to.micros : null;
  const inside =
    after === null && before === null ? null : await numbersInside(client, chunks, after, before);

  let { first, last } = recorded;
  if (from !== null && 'tick' in from) first = from.tick;
  else if (after !== null) {
    const lower =
      inside === null
        ? await nextByTime(client, chunks, after, 'before')
        : await oneNumber(client, chunks.highestBelow('ticks', inside.first));
    if (lower !== null && lower >= first) first = lower + 1n;
  }
  if (to !== null && 'tick' in to) last = to.tick;
  else if (before !== null) {
    const higher =
      inside === null
        ? await nextByTime(client, chunks, before, 'from')
        : await oneNumber(client, chunks.lowestFrom('ticks', inside.last + 1n));
    if (higher !== null && higher <= last) last = higher - 1n;
  }
  return { first, last };
}

/** Null when no tick has a time in [after, before). */
async function numbersInside(
  client: Client,
  chunks: TickChunks,
  after: Micros | null,
  before: Micros | null,
): Promise<QualityEnds | null> {
  const sql = chunks.numbersIn({ from: after, to: before });
  const { rows } = await client.query<Record<'first' | 'last', string | null>>(
    `SELECT ${sql.first} AS first, ${sql.last} AS last`,
  );
  const { first, last } = rows[0] ?? { first: null, last: null };
  return first === null || last === null ? null : { first: BigInt(first), last: BigInt(last) };
}

/** The number of the tick next to a time. */
function nextByTime(
  client: Client,
  chunks: TickChunks,
  at: Micros,
  side: 'before' | 'from',
): Promise<bigint | null> {
  const { from, to } = chunks.around(at);
  const span = side === 'before' ? { from, to: at } : { from: at, to };
  const order = side === 'before' ? '"timestamp" DESC, tick_number DESC' : '"timestamp", tick_number';
  return oneNumber(
    client,
    `(SELECT tick_number FROM ticks WHERE ${withinSpan('ticks', span)} ORDER BY ${order} LIMIT 1)`,
  );
}

/** @param sql an expression */
async function oneNumber(client: Client, sql: string): Promise<bigint | null> {
  const { rows } = await client.query<{ n: string | null }>(`SELECT ${sql} AS n`);
  return rows[0]?.n == null ? null : BigInt(rows[0].n);
}
