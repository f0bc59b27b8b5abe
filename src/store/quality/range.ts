import type { Client } from 'pg';
import { formatMicros, type Micros } from '../../core/time.ts';

/** A tick number (the range includes both ends), or a time (half-open). */
export type QualityBound = { tick: bigint } | { micros: Micros };

/** Both ends included; `last` is below `first` when no number lies between the bounds. */
export interface QualityEnds {
  first: bigint;
  last: bigint;
}

/**
 * The numbers between two bounds; null is an end of what is recorded. By time: from the lowest to the highest number
 * with a time in it, even if timestamps go backwards, plus the missing numbers directly adjacent, because it is unknown
 * on which side of the bound they were.
 */
export async function readEnds(
  client: Client,
  from: QualityBound | null,
  to: QualityBound | null,
  recorded: QualityEnds,
): Promise<QualityEnds> {
  const after = from !== null && 'micros' in from ? formatMicros(from.micros) : null;
  const before = to !== null && 'micros' in to ? formatMicros(to.micros) : null;
  const inside = after === null && before === null ? null : await numbersInside(client, after, before);

  let { first, last } = recorded;
  if (from !== null && 'tick' in from) first = from.tick;
  else if (after !== null) {
    const lower =
      inside === null
        ? await oneNumber(client, `"timestamp" < $1 ORDER BY "timestamp" DESC, tick_number DESC`, after)
        : await oneNumber(client, 'tick_number < $1 ORDER BY tick_number DESC', `${inside.first}`);
    if (lower !== null && lower >= first) first = lower + 1n;
  }
  if (to !== null && 'tick' in to) last = to.tick;
  else if (before !== null) {
    const higher =
      inside === null
        ? await oneNumber(client, `"timestamp" >= $1 ORDER BY "timestamp", tick_number`, before)
        : await oneNumber(client, 'tick_number > $1 ORDER BY tick_number', `${inside.last}`);
    if (higher !== null && higher <= last) last = higher - 1n;
  }
  return { first, last };
}

/** Null when no tick has a time in [after, before). */
async function numbersInside(
  client: Client,
  after: string | null,
  before: string | null,
): Promise<QualityEnds | null> {
  const { rows } = await client.query<Record<'first' | 'last', string | null>>(
    // + 0: forces the index on times, instead of a walk along all numbers until a time fits
    `SELECT min(tick_number + 0) AS first, max(tick_number + 0) AS last FROM ticks
      WHERE "timestamp" >= coalesce($1::timestamptz, '-infinity') AND "timestamp" < coalesce($2::timestamptz, 'infinity')`,
    [after, before],
  );
  const { first, last } = rows[0] ?? { first: null, last: null };
  return first === null || last === null ? null : { first: BigInt(first), last: BigInt(last) };
}

async function oneNumber(client: Client, sql: string, value: string): Promise<bigint | null> {
  const { rows } = await client.query<{ n: string }>(
    `SELECT tick_number AS n FROM ticks WHERE ${sql} LIMIT 1`,
    [value],
  );
  return rows[0] === undefined ? null : BigInt(rows[0].n);
}
