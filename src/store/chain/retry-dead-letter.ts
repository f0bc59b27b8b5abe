import { DatabaseError, type Client } from 'pg';
import { decodeTick } from '../../core/chain/decode.ts';
import { compareTicks } from '../../core/chain/digest.ts';
import { INT64_MAX, type Tick } from '../../core/chain/tick.ts';
import { transcodeFrame, type TickRows } from '../../core/copy/frame.ts';
import type { TranscodeLimits } from '../../core/copy/transcode.ts';
import { storeVerdict } from '../../core/retry.ts';
import { isoTime } from '../postgres/time-sql.ts';
import { BatchError } from '../postgres/pipelined-copy.ts';
import { beginWriting } from '../postgres/pooler.ts';
import { DEPOSE_SQL, takeFence } from './lease.ts';
import {
  anyOf,
  ATTEMPTS,
  commitSingleTick,
  countAsTick,
  deadLettersInPlaceOf,
  lockSingleTicks,
  readSingleTick,
  resolveSql,
} from './single-tick.ts';

/** The outcome for a dead letter. Only the first two resolve it; the others leave everything unchanged. */
export type RetryOutcome =
  | {
      kind: 'stored';
      tick: bigint;
      transactions: number;
      /** other dead letters of the same tick, resolved with it */
      also: string[];
      /** state of the gap that its number was in, null when it was in none */
      gap: string | null;
      /** ticks whose link to the previous one is broken, now recorded in chain_alarms */
      brokenLinks: string[];
    }
  /** the store has the same tick already */
  | { kind: 'equal'; tick: bigint }
  /** the store has a different tick of this number */
  | { kind: 'conflict'; tick: bigint; fields: string[] }
  /** the frame still does not decode to a tick */
  | { kind: 'bad'; reason: string; detail: string }
  /** the database does not accept its rows */
  | { kind: 'refused'; tick: bigint; sqlstate: string; detail: string }
  /** its number fits nowhere in the recorded chain */
  | { kind: 'unplaced'; tick: bigint; detail: string }
  | { kind: 'resolved before'; at: string }
  | { kind: 'absent' };

interface DeadLetterRow {
  tick_number: string | null;
  after_tick: string | null;
  raw: Buffer;
  status: string;
  resolved_at: string | null;
}

/** The position of a frame's number. */
interface Place {
  /** in a range of the ledger */
  recorded: boolean;
  /** state of the gap that contains it, null when none does */
  gap: string | null;
  origin: string | null;
}

/** If this program freezes it must not hold the fence for long. */
const IDLE_TIMEOUT = '10s';

/**
 * Retries a dead letter under the current rules: its rows, the count of the ledger (or the gap that it closes) and the
 * status `resolved` are one transaction. Two retries never run at once, no matter who started them.
 *
 * A number that the ledger covers changes no range, so a running daemon need not know of it and the fence is taken
 * shared, as by a batch. A number in a gap does: then, as in a takeover, no batch is in flight, and the epoch rises, so
 * that the daemon starts over from the ledger and cannot fill the gap as well.
 *
 * @throws DatabaseError, BatchError or the connection's error; nothing was changed then, unless the answer to COMMIT was lost, and
 *   the next retry finds out.
 */
export async function retryDeadLetter(
  client: Client,
  id: bigint,
  limits: TranscodeLimits,
): Promise<RetryOutcome> {
  for (let attempt = 1; ; attempt += 1) {
    let tick: bigint | null = null;
    await client.query(beginWriting(client).join('; '));
    try {
      const deadLetter = await lockDeadLetter(client, id);
      if (deadLetter === null) return await undo(client, { kind: 'absent' });
      if (deadLetter.status === 'resolved') {
        return await undo(client, { kind: 'resolved before', at: deadLetter.resolved_at ?? '' });
      }
      const isNumbered = deadLetter.tick_number !== null && deadLetter.after_tick === null;
      const frame = transcodeFrame(
        deadLetter.raw,
        isNumbered ? BigInt(deadLetter.tick_number ?? 0) : null,
        limits,
      );
      if (frame.kind === 'bad') return await undo(client, frame);
      tick = frame.number;
      return await placeFrame(client, id, deadLetter.raw, frame);
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {}); // of a lost connection: `error` reports it
      if (!(error instanceof DatabaseError || error instanceof BatchError) || tick === null) throw error;
      const verdict = storeVerdict(error.code);
      if (verdict === 'look' && attempt < ATTEMPTS) continue;
      if (verdict !== 'look' && verdict !== 'data') throw error;
      return { kind: 'refused', tick, sqlstate: error.code ?? '', detail: error.message };
    }
  }
}

async function undo<T>(client: Client, outcome: T): Promise<T> {
  await client.query('ROLLBACK');
  return outcome;
}

async function lockDeadLetter(client: Client, id: bigint): Promise<DeadLetterRow | null> {
  await client.query(`SET LOCAL idle_in_transaction_session_timeout = '${IDLE_TIMEOUT}'`);
  await lockSingleTicks(client);
  const { rows } = await client.query<DeadLetterRow>(
    `SELECT tick_number, after_tick, raw, status,
       ${isoTime('resolved_at')} AS resolved_at
       FROM dead_letters WHERE dead_letter_id = $1 FOR UPDATE`,
    [id.toString()],
  );
  return rows[0] ?? null;
}

async function placeFrame(
  client: Client,
  id: bigint,
  raw: Uint8Array,
  frame: TickRows,
): Promise<RetryOutcome> {
  const tick = frame.number;
  if ((await findPlace(client, tick)).gap === null) {
    await client.query('SELECT pg_advisory_xact_lock_shared(ingest_fence_key(), 1)');
  } else {
    await takeFence(client);
  }
  // once more: a batch that held the fence may have stored it
  const place = await findPlace(client, tick);
  const found = await readSingleTick(client, tick);
  if (found === 'in part') {
    const detail = `tick ${tick} is stored in part: see mdp quality --from ${tick} --to ${tick}`;
    return undo(client, { kind: 'unplaced', tick, detail });
  }
  if (found !== null) return compareWithStored(client, id, raw, tick, found);
  if (place.gap !== null) return fillGap(client, id, frame, place.gap);
  if (place.recorded) return fillDeadLetter(client, id, frame);
  const detail =
    place.origin === null || tick < BigInt(place.origin)
      ? `tick ${tick} lies below the first tick of this store, ${place.origin ?? 'which is empty'}`
      : `tick ${tick} is not recorded yet: the stream will bring it`;
  return undo(client, { kind: 'unplaced', tick, detail });
}

async function findPlace(client: Client, tick: bigint): Promise<Place> {
  const { rows } = await client.query<Place>(
    `SELECT (SELECT origin FROM ingest_state) AS origin,
       (SELECT state FROM ingest_gaps
         WHERE state <> 'filled' AND $1 BETWEEN first_tick AND last_tick ORDER BY first_tick LIMIT 1) AS gap,
       coalesce((SELECT last_tick >= $1 FROM ingest_ledger
         WHERE first_tick <= $1 ORDER BY first_tick DESC LIMIT 1), false) AS recorded`,
    [tick.toString()],
  );
  return rows[0] ?? { recorded: false, gap: null, origin: null };
}

async function compareWithStored(
  client: Client,
  id: bigint,
  raw: Uint8Array,
  tick: bigint,
  stored: Tick,
): Promise<RetryOutcome> {
  const { isEqual, fields } = compareTicks(decodeTick(raw), stored);
  if (!isEqual) return undo(client, { kind: 'conflict', tick, fields });
  await client.query(resolveSql(anyOf([id.toString()])));
  await client.query('COMMIT');
  return { kind: 'equal', tick };
}

/** The ledger counts the number among its dead letters: move it to its ticks. */
async function fillDeadLetter(client: Client, id: bigint, frame: TickRows): Promise<RetryOutcome> {
  const { number: tick, transactions } = frame;
  const standing = await deadLettersInPlaceOf(client, tick);
  if (standing.length === 0 || !(await countAsTick(client, tick, transactions))) {
    const detail = `tick ${tick} is counted as stored, but its rows are not there: see mdp quality --from ${tick} --to ${tick}`;
    return undo(client, { kind: 'unplaced', tick, detail });
  }
  const brokenLinks = await commitSingleTick(client, frame, [
    resolveSql(anyOf([id.toString(), ...standing])),
  ]);
  return { kind: 'stored', tick, transactions, also: except(standing, id), gap: null, brokenLinks };
}

async function fillGap(client: Client, id: bigint, frame: TickRows, state: string): Promise<RetryOutcome> {
  const { number: tick, transactions } = frame;
  const standing = await deadLettersInPlaceOf(client, tick);
  await client.query(
    `INSERT INTO ingest_ledger (first_tick, last_tick, epoch, ticks, transactions, dead_letters)
     SELECT $1, $1, epoch, 1, $2, 0 FROM ingest_state`,
    [tick.toString(), transactions],
  );
  if (state === 'skipped') await cutSkippedGap(client, tick);
  else await client.query("SELECT ingest_close_gaps($1, $1, 'filled', NULL)", [tick.toString()]);
  const brokenLinks = await commitSingleTick(client, frame, [
    resolveSql(anyOf([id.toString(), ...standing])),
    // others may have stood for the same tick
    `SELECT ingest_resolve_dead_letters(${tick}, ${tick})`,
    DEPOSE_SQL,
  ]);
  return { kind: 'stored', tick, transactions, also: except(standing, id), gap: state, brokenLinks };
}

/** Takes a number out of a gap made by an operator; what remains on either side stays as it was. */
async function cutSkippedGap(client: Client, tick: bigint): Promise<void> {
  const columns = 'detected_at, closed_at, attempts, last_error';
  await client.query(
    `WITH gap AS (
       DELETE FROM ingest_gaps WHERE state = 'skipped' AND $1 BETWEEN first_tick AND last_tick RETURNING *
     )
     INSERT INTO ingest_gaps (first_tick, last_tick, state, ${columns})
     SELECT first_tick, $2::bigint, state, ${columns} FROM gap WHERE first_tick < $1
     UNION ALL SELECT $3::bigint, last_tick, state, ${columns} FROM gap WHERE last_tick > $1
     UNION ALL SELECT $1::bigint, $1, 'filled', detected_at, clock_timestamp(), attempts, last_error FROM gap`,
    // at the ends of bigint, the parts that would overflow are empty
    [tick, tick > 0n ? tick - 1n : 0n, tick < INT64_MAX ? tick + 1n : tick].map(String),
  );
}

function except(ids: readonly string[], id: bigint): string[] {
  return ids.filter((other) => BigInt(other) !== id);
}
