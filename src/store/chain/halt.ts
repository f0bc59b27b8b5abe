import type { Client } from 'pg';
import { BRAKE_WINDOW_MS, type DeadLettersSeen } from '../../core/ingest/brake.ts';
import { DEPOSE_SQL, takeFence } from './lease.ts';
import { msOf } from '../postgres/time-sql.ts';
import { inTransaction } from '../postgres/transaction.ts';

/** Why ingestion waits for an operator: too many dead letters, or a chain other than the one we stored. */
export type HaltKind = 'poison' | 'forked';

export interface Halt {
  kind: HaltKind;
  /** one sentence for the operator */
  reason: string;
}

/** The initial state of a run's brake. */
export interface BrakeState {
  halt: Halt | null;
  /** an operator chose to continue although the sequencer's head is below our position */
  forkAccepted: boolean;
  /** dead letters of the last minutes that no operator has accepted */
  deadLetters: DeadLettersSeen[];
}

/** Read it in the snapshot of the ledger. */
export async function readBrake(client: Client): Promise<BrakeState> {
  const state = await client.query<{
    halt: HaltKind | null;
    halt_reason: string | null;
    fork_accepted: boolean;
  }>('SELECT halt, halt_reason, fork_accepted FROM ingest_state');
  const deadLetters = await client.query<{ age_ms: number; count: string }>(
    `SELECT min(${msOf('clock_timestamp() - created_at')}) AS age_ms, count(*) AS count
       FROM dead_letters
      WHERE created_at > clock_timestamp() - $1 * interval '1 millisecond'
        AND created_at > coalesce((SELECT accepted_at FROM ingest_state), '-infinity')
      GROUP BY date_trunc('second', created_at)`,
    [BRAKE_WINDOW_MS],
  );
  const row = state.rows[0];
  return {
    halt: row?.halt == null ? null : { kind: row.halt, reason: row.halt_reason ?? '' },
    forkAccepted: row?.fork_accepted ?? false,
    deadLetters: deadLetters.rows.map(({ age_ms, count }) => ({ ageMs: age_ms, count: Number(count) })),
  };
}

/** The first reason is kept; nothing happens when another daemon has the epoch. */
export async function recordHalt(client: Client, epoch: bigint, { kind, reason }: Halt): Promise<void> {
  await client.query(
    `UPDATE ingest_state SET halt = $2, halt_reason = $3, halted_at = clock_timestamp()
      WHERE epoch = $1 AND halt IS NULL`,
    [epoch.toString(), kind, reason],
  );
}

/** The sequencer has caught up with our position: from now on a head below it is a fork again. */
export async function forgetForkAcceptance(client: Client, epoch: bigint): Promise<void> {
  await client.query('UPDATE ingest_state SET fork_accepted = false WHERE epoch = $1 AND fork_accepted', [
    epoch.toString(),
  ]);
}

/** What an operator may not decide, and why; one sentence. */
export class DecisionRefused extends Error {}

/**
 * `tick-ingester resume --accept KIND`: clears the halt. The epoch rises, so that a running daemon starts over from the
 * ledger. Returns the halt that was accepted.
 * @throws DecisionRefused when there is no halt, or one of another kind
 */
export async function acceptHalt(client: Client, kind: HaltKind): Promise<Halt> {
  return deciding(client, async () => {
    const { rows } = await client.query<{ halt: HaltKind | null; halt_reason: string | null }>(
      'SELECT halt, halt_reason FROM ingest_state',
    );
    const found = rows[0];
    if (found === undefined) throw new DecisionRefused('nothing was ever ingested here');
    if (found.halt === null) throw new DecisionRefused('ingestion is not halted');
    if (found.halt !== kind) {
      throw new DecisionRefused(
        `ingestion is halted as ${found.halt} (${found.halt_reason}), not as ${kind}: to go on, say --accept ${found.halt}`,
      );
    }
    await client.query(
      `UPDATE ingest_state SET halt = NULL, halt_reason = NULL, halted_at = NULL,
         accepted_at = CASE WHEN $1 = 'poison' THEN clock_timestamp() ELSE accepted_at END,
         fork_accepted = fork_accepted OR $1 = 'forked'`,
      [kind],
    );
    return { kind, reason: found.halt_reason ?? '' };
  });
}

export type SkippedTick =
  /** it was the next one to be read */
  | 'due'
  /** it was missing and is no longer looked for */
  | 'gap';

/**
 * `tick-ingester skip --tick N`: records N as a gap of state "skipped", which is neither filled nor read again. Only a
 * missing tick can be skipped: the one that is due next, or one in a gap.
 * @throws DecisionRefused otherwise
 */
export async function skipTick(client: Client, tick: bigint): Promise<SkippedTick> {
  return deciding(client, async () => {
    const number = tick.toString();
    const { rows } = await client.query<{ origin: string | null; position: string | null }>(
      'SELECT origin, "position" FROM ingest_position()',
    );
    const { origin, position } = rows[0] ?? { origin: null, position: null };
    if (origin === null || position === null)
      throw new DecisionRefused('nothing is ingested yet, so nothing is in the way');
    const gap = await client.query(
      "SELECT FROM ingest_gaps WHERE state IN ('open', 'unfillable') AND $1 BETWEEN first_tick AND last_tick",
      [number],
    );
    if (gap.rowCount !== 0) {
      await client.query("SELECT ingest_close_gaps($1, $1, 'skipped', 'skipped by an operator')", [number]);
      return 'gap';
    }
    const due = BigInt(position) + 1n;
    if (tick !== due) {
      const what =
        tick < BigInt(origin)
          ? `it lies below the first tick of this store, ${origin}`
          : tick < due
            ? 'it is recorded already'
            : `the next tick to be read is ${due}, and ${tick} may still come`;
      throw new DecisionRefused(`tick ${tick} cannot be skipped: ${what}`);
    }
    await client.query(
      `INSERT INTO ingest_gaps (first_tick, last_tick, state, closed_at, last_error)
       VALUES ($1, $1, 'skipped', clock_timestamp(), 'skipped by an operator')`,
      [number],
    );
    return 'due';
  });
}

/**
 * One transaction under the exclusive fence, like a takeover: no batch is in flight, and whatever a running daemon has
 * not committed is refused afterwards. Its lease ends too, so that it starts over at once.
 */
export async function deciding<T>(client: Client, decide: () => Promise<T>): Promise<T> {
  return inTransaction(client, async () => {
    await takeFence(client);
    const decided = await decide();
    await client.query(DEPOSE_SQL);
    return decided;
  });
}
