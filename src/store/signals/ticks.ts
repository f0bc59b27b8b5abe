import type { Client } from 'pg';
import type { FeatureTick } from '../../core/feature/tick.ts';
import { prepared } from '../postgres/pooler.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';

/** Ticks of one symbol in [fromUs, beforeUs), µs since 1970. */
export interface TickRange {
  provider: string;
  symbol: string;
  fromUs: number;
  beforeUs: number;
  /** without those that came too late for the features of this group */
  seenBy: string;
  /** null: all that are stored */
  known: KnownTicks | null;
}

/** What was stored when the features of a symbol began. */
export interface KnownTicks {
  /** those that were stored then (storedNow) */
  storedBy: string;
  /** and of times behind the range as well those that were stored before this time, µs since 1970; null: none */
  storedBeforeUs: number | null;
}

interface TickRow {
  us: string;
  seq: string;
  price: number;
  size: number | null;
  bid: number | null;
  ask: number | null;
  side: 1 | -1 | null;
}

const PAGE_ROWS = 10_000;
const AFTER = timeOf('$3');
const SEEN = `NOT EXISTS (SELECT FROM features_late l WHERE l.provider = d.provider AND l.symbol = d.symbol AND l.ts = d.ts
  AND l.seq = d.seq AND l.group_name = $6)`;
const BEFORE = `ts < ${timeOf('$5')}`;
const KNOWN = `(${BEFORE} OR created_at < ${timeOf('$8')}) AND pg_visible_in_snapshot(d.tx, $7::pg_snapshot)`;

/** What tells a tick from all others. */
export interface TickIdentity {
  provider: string;
  symbol: string;
  /** µs since 1970 */
  srcTs: bigint;
  seq: bigint;
}

/** Ticks of these symbols, between the first and the last of these, that came too late for the features of a group. */
export async function lateAmong(
  client: Client,
  group: string,
  ticks: readonly TickIdentity[],
): Promise<TickIdentity[]> {
  const times = ticks.map(({ srcTs }) => srcTs);
  const { rows } = await client.query<{ provider: string; symbol: string; us: string; seq: string }>(
    `SELECT provider, symbol, ${microsOf('ts')} AS us, seq FROM features_late
      WHERE group_name = $1 AND provider = ANY ($2) AND symbol = ANY ($3) AND ts BETWEEN ${timeOf('$4')} AND ${timeOf('$5')}`,
    [
      group,
      [...new Set(ticks.map(({ provider }) => provider))],
      [...new Set(ticks.map(({ symbol }) => symbol))],
      times.reduce((a, b) => (a < b ? a : b)).toString(),
      times.reduce((a, b) => (a > b ? a : b)).toString(),
    ],
  );
  return rows.map(({ us, seq, ...rest }) => ({ ...rest, srcTs: BigInt(us), seq: BigInt(seq) }));
}

/** What is committed now: text of a pg_snapshot. */
export async function storedNow(client: Client): Promise<string> {
  const { rows } = await client.query<{ now: string }>('SELECT pg_current_snapshot()::text AS now');
  return rows[0].now;
}

/** The last tick of a page. */
export type TickCursor = Pick<FeatureTick, 'tsUs' | 'seq'>;

/** A page of ticks behind this one (null: from the first), in the order of (time, seq). */
export async function featureTicks(
  client: Client,
  { provider, symbol, fromUs, beforeUs, seenBy, known }: TickRange,
  after: TickCursor | null,
): Promise<FeatureTick[]> {
  const text = `SELECT ${microsOf('ts')} AS us, seq, price, size, bid, ask, side FROM tick_data d
     WHERE provider = $1 AND symbol = $2 AND ts >= ${AFTER} AND (ts, seq) > (${AFTER}, $4::bigint)
       AND ${SEEN} AND ${known === null ? BEFORE : KNOWN}
     ORDER BY ts, seq LIMIT ${PAGE_ROWS}`;
  const { rows } = await client.query<TickRow>({
    ...prepared(client, known === null ? 'feature_ticks' : 'feature_ticks_known'),
    text,
    values: [
      provider,
      symbol,
      after?.tsUs ?? fromUs,
      (after?.seq ?? -1n).toString(),
      beforeUs,
      seenBy,
      ...(known === null ? [] : [known.storedBy, known.storedBeforeUs]),
    ],
  });
  return rows.map(({ us, seq, ...rest }) => ({ tsUs: Number(us), seq: BigInt(seq), ...rest }));
}
