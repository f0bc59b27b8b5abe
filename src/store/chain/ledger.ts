import type { Client } from 'pg';
import { readBrake, type BrakeState } from './halt.ts';
import { contiguousPrefix, RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import { inSnapshot, inTransaction } from '../postgres/transaction.ts';

/** What the store has recorded of the chain. */
export interface LedgerState {
  /** the first tick ever received; null before it */
  origin: bigint | null;
  /** end of the contiguous prefix of what is recorded, open gaps included; null without an origin */
  position: bigint | null;
  /** ranges of the ledger beyond the position: stored, and must not be written again */
  storedAhead: TickRange[];
  openGaps: TickRange[];
  brake: BrakeState;
  /** gaps that were given up; a tick that arrives later still fills them */
  unfillable: TickRange[];
}

interface StateRow {
  origin: string | null;
}

interface RangeRow {
  first_tick: string;
  last_tick: string;
}

/**
 * Reads position, ranges and gaps in one snapshot. Call it as the leader, after raising the epoch: then nobody else can
 * change them.
 */
export async function readLedger(client: Client): Promise<LedgerState> {
  return inSnapshot(client, async () => {
    const state = await client.query<StateRow>('SELECT origin FROM ingest_state');
    const ledger = await client.query<RangeRow>(
      'SELECT first_tick, last_tick FROM ingest_ledger ORDER BY first_tick',
    );
    const gaps = await client.query<RangeRow & { state: string }>(
      // the ledger covers the filled ones
      "SELECT first_tick, last_tick, state FROM ingest_gaps WHERE state <> 'filled' ORDER BY first_tick",
    );
    const origin = state.rows[0]?.origin;
    const brake = await readBrake(client);
    const ofState = (state: string): TickRange[] =>
      gaps.rows.filter((row) => row.state === state).map(toRange);
    const openGaps = ofState('open');
    const unfillable = ofState('unfillable');
    if (origin == null) return { origin: null, position: null, storedAhead: [], openGaps, unfillable, brake };
    const stored = new RangeSet(ledger.rows.map(toRange));
    const recorded = new RangeSet([...stored.list(), ...gaps.rows.map(toRange)]);
    const position = contiguousPrefix(BigInt(origin), recorded);
    return {
      origin: BigInt(origin),
      position,
      storedAhead: stored.list().filter((range) => range.first > position),
      openGaps,
      brake,
      unfillable,
    };
  });
}

/** Records the first tick of the chain before anything else is written. Returns the effective origin. */
export async function recordOrigin(client: Client, first: bigint, epoch: bigint): Promise<bigint | null> {
  const sql = 'UPDATE ingest_state SET origin = coalesce(origin, $1) WHERE epoch = $2 RETURNING origin';
  const { rows } = await client.query<StateRow>(sql, [first.toString(), epoch.toString()]);
  const origin = rows[0]?.origin;
  return origin == null ? null : BigInt(origin);
}

/**
 * An operator's `--ignore-watermark`: these ticks are not wanted. They may lie beyond the sequencer's head, which is no
 * fork then.
 */
export async function recordSkipped(
  client: Client,
  { first, last }: TickRange,
  epoch: bigint,
): Promise<void> {
  await underFence(client, epoch, async () => {
    await client.query(
      "INSERT INTO ingest_gaps (first_tick, last_tick, state, closed_at) VALUES ($1, $2, 'skipped', clock_timestamp())",
      [first.toString(), last.toString()],
    );
    await client.query('UPDATE ingest_state SET fork_accepted = true');
  });
}

/** Whether the whole range is in the ledger: resolves a COMMIT whose answer was lost. */
export async function ledgerCovers(client: Client, { first, last }: TickRange): Promise<boolean> {
  const sql = 'SELECT first_tick, last_tick FROM ingest_ledger WHERE last_tick >= $1 AND first_tick <= $2';
  const { rows } = await client.query<RangeRow>(sql, [first.toString(), last.toString()]);
  return new RangeSet(rows.map(toRange)).missing({ first, last }).length === 0;
}

/** The VDF output of a stored tick, hex digits; null when it is not stored. */
export async function readOutput(client: Client, tick: bigint): Promise<string | null> {
  const sql = 'SELECT output FROM vdf_proofs WHERE tick_number = $1';
  const { rows } = await client.query<{ output: string }>(sql, [tick.toString()]);
  return rows[0]?.output ?? null;
}

/** The highest stored tick below this one; null when there is none. */
export async function readHighestBelow(client: Client, tick: bigint): Promise<bigint | null> {
  const sql = 'SELECT tick_number FROM vdf_proofs WHERE tick_number < $1 ORDER BY tick_number DESC LIMIT 1';
  const { rows } = await client.query<{ tick_number: string }>(sql, [tick.toString()]);
  return rows[0] === undefined ? null : BigInt(rows[0].tick_number);
}

/** Open gaps, dead letters by status: for the metrics and `status`. */
export async function readIncidentCounts(
  client: Client,
): Promise<{ openGaps: TickRange[]; gaps: Map<string, number>; deadLetters: Map<string, number> }> {
  const open = await client.query<RangeRow>(
    "SELECT first_tick, last_tick FROM ingest_gaps WHERE state = 'open' ORDER BY first_tick",
  );
  const gaps = await client.query<{ state: string; n: string }>(
    'SELECT state, count(*) AS n FROM ingest_gaps GROUP BY state',
  );
  const dead = await client.query<{ status: string; n: string }>(
    'SELECT status, count(*) AS n FROM dead_letters GROUP BY status',
  );
  return {
    openGaps: open.rows.map(toRange),
    gaps: new Map(gaps.rows.map((row) => [row.state, Number(row.n)])),
    deadLetters: new Map(dead.rows.map((row) => [row.status, Number(row.n)])),
  };
}

/** One row per batch would be 300,000 an hour: adjacent rows are merged. */
const MERGE_SQL = `
WITH old AS (
  DELETE FROM ingest_ledger WHERE last_tick <= $1 RETURNING *
), island AS (
  SELECT *, last_tick - sum(last_tick - first_tick + 1) OVER (ORDER BY first_tick) AS island FROM old
)
INSERT INTO ingest_ledger (first_tick, last_tick, epoch, ticks, transactions, dead_letters, committed_at)
SELECT min(first_tick), max(last_tick), max(epoch), sum(ticks), sum(transactions), sum(dead_letters), max(committed_at)
FROM island GROUP BY island`;

/**
 * Merges the ledger's rows up to `upTo`, under the fence like every other write. The caller keeps `upTo` below every
 * range whose COMMIT is in flight or unresolved.
 */
export async function mergeLedger(client: Client, epoch: bigint, upTo: bigint): Promise<void> {
  await underFence(client, epoch, () => client.query(MERGE_SQL, [upTo.toString()]));
}

/** A transaction that commits nothing once this daemon was replaced: it is then refused with MDF01. */
export async function underFence(client: Client, epoch: bigint, work: () => Promise<unknown>): Promise<void> {
  await inTransaction(client, async () => {
    await fence(client, epoch);
    await work();
  });
}

/** The fence alone, within a transaction: shared, as by a batch. Rejects with MDF01 when the epoch has moved on. */
export async function fence(client: Client, epoch: bigint): Promise<void> {
  await client.query('SELECT ingest_begin_batch($1, NULL, NULL, 0, 0, 0, NULL, NULL, false)', [
    epoch.toString(),
  ]);
}

function toRange(row: RangeRow): TickRange {
  return { first: BigInt(row.first_tick), last: BigInt(row.last_tick) };
}
