import type { Client } from 'pg';
import type { LateTick, SymbolState } from '../../core/signal/partition-rows.ts';
import { digestText, type HourDigest } from '../../core/signal/row-digest.ts';
import type { SymbolKey } from '../../core/window/step.ts';
import type { GroupName, HeldPartition } from '../bus/partitions.ts';
import { microsOf, timeOf } from '../postgres/time-sql.ts';
import { writeKeys } from './taken.ts';

/** The owner and number of a transaction: a step is committed once. */
export interface SignalFrame {
  name: GroupName;
  held: HeldPartition;
  /** one more than the last committed one */
  number: bigint;
  /** the log that the positions belong to */
  log: string;
  /** the last entry whose signals are stored; null: none was read */
  position: string | null;
}

/** Everything that a new owner of a partition continues from. */
export interface SignalState {
  /** of the last committed transaction */
  step: bigint;
  /** the entry that the symbols' states are of: it goes on behind it; null: from the beginning */
  stateAfter: string | null;
  /** up to here signals are stored already, and come again; null: none are */
  position: string | null;
  symbols: SymbolState[];
}

/** What a restart continues from, stored in one transaction. */
export interface Checkpoint {
  /** the entry that the states are of */
  stateAfter: string | null;
  /** of symbols that changed since the last one */
  symbols: readonly SymbolState[];
  late: readonly LateTick[];
}

/** a replay that was silent for this long is over, and its state is dropped */
const REPLAY_SILENCE = "interval '1 day'";
/** bytes of states in one statement, about */
const STATES_BYTES = 8 * 2 ** 20;
const SYMBOLS_READ = 200;
const PLACE = 'topic = $1 AND group_name = $2 AND partition = $3';

/**
 * @param position as its owner committed it
 * @param log the current log on the bus; positions of another log mean nothing in it
 * @param shape of the features; states of another one are left out, and are made anew
 */
export async function loadSignalState(
  client: Client,
  place: { name: GroupName; held: { partition: number; position: string | null } },
  log: string,
  shape: string,
): Promise<SignalState> {
  const at = placeOf(place);
  const { rows } = await client.query<{ step: string; log: string | null; state_after: string | null }>(
    `SELECT step, log, state_after FROM signal_partitions WHERE ${PLACE}`,
    at,
  );
  const found = rows[0];
  const isSameLog = found?.log === log;
  await client.query(
    `DELETE FROM feature_states WHERE ${PLACE} AND replay_run_id > 0 AND updated_at < now() - ${REPLAY_SILENCE}`,
    at,
  );
  return {
    step: BigInt(found?.step ?? 0),
    stateAfter: isSameLog ? found.state_after : null,
    position: isSameLog ? place.held.position : null,
    symbols: await readStates(client, at, shape),
  };
}

async function readStates(client: Client, at: readonly unknown[], shape: string): Promise<SymbolState[]> {
  const symbols: SymbolState[] = [];
  let after: [string, string, string] = ['-1', '', ''];
  for (;;) {
    const { rows } = await client.query<{
      run: string;
      provider: string;
      symbol: string;
      state: Buffer;
      facts: string[];
      anchor_us: string | null;
      primed_us: string | null;
      primed_seen: string | null;
    }>(
      `SELECT replay_run_id AS run, provider, symbol, state, facts, ${microsOf('anchor')} AS anchor_us,
              ${microsOf('primed_before')} AS primed_us, primed_seen::text
         FROM feature_states
        WHERE ${PLACE} AND shape = $4 AND (replay_run_id, provider, symbol) > ($5::bigint, $6, $7)
        ORDER BY replay_run_id, provider, symbol LIMIT ${SYMBOLS_READ}`,
      [...at, shape, ...after],
    );
    for (const row of rows) {
      const { run, provider, symbol, state, facts, anchor_us: anchorUs, primed_us: beforeUs } = row;
      const { primed_seen: seen } = row;
      const primed = beforeUs === null || seen === null ? null : { beforeUs: Number(beforeUs), seen };
      const key = { runId: BigInt(run), provider, symbol };
      symbols.push({ ...key, state, facts, anchorUs: Number(anchorUs ?? NaN), primed });
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < SYMBOLS_READ) return symbols;
    after = [last.run, last.provider, last.symbol];
  }
}

/** The statements of a checkpoint, within the transaction of its step. */
export async function writeCheckpoint(
  client: Client,
  place: { name: GroupName; held: { partition: number } },
  { stateAfter, symbols, late }: Checkpoint,
  shape: string,
): Promise<void> {
  const at = placeOf(place);
  await client.query(`UPDATE signal_partitions SET state_after = $4, updated_at = now() WHERE ${PLACE}`, [
    ...at,
    stateAfter,
  ]);
  for (const part of parts(symbols)) {
    await client.query(
      `INSERT INTO feature_states (topic, group_name, partition, shape, replay_run_id, provider, symbol, state, facts, anchor, primed_before,
         primed_seen)
       SELECT $1, $2, $3, $4, k.run, k.provider, k.symbol, k.state, k.facts::jsonb, ${timeOf('k.anchor_us')}, ${timeOf('k.primed_us')},
              k.primed_seen::pg_snapshot
         FROM unnest($5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::bigint[], $11::bigint[],
              $12::text[]) AS k (run, provider, symbol, state, facts, anchor_us, primed_us, primed_seen)
       ON CONFLICT (topic, group_name, partition, replay_run_id, provider, symbol) DO UPDATE
         SET shape = excluded.shape, state = excluded.state, facts = excluded.facts, anchor = excluded.anchor,
             primed_before = excluded.primed_before, primed_seen = excluded.primed_seen, updated_at = now()`,
      [
        ...at,
        shape,
        part.map(({ runId }) => runId.toString()),
        part.map(({ provider }) => provider),
        part.map(({ symbol }) => symbol),
        part.map(({ state }) => Buffer.from(state.buffer, state.byteOffset, state.byteLength)),
        part.map(({ facts }) => JSON.stringify(facts)),
        part.map(({ anchorUs }) => (Number.isNaN(anchorUs) ? null : anchorUs)),
        part.map(({ primed }) => primed?.beforeUs ?? null),
        part.map(({ primed }) => primed?.seen ?? null),
      ],
    );
  }
  await writeDigests(client, place.name, symbols, shape);
  await writeKeys(client, place.name, symbols);
  if (late.length === 0) return;
  await client.query(
    `INSERT INTO features_late (topic, group_name, provider, symbol, ts, seq)
     SELECT $1, $2, k.provider, k.symbol, ${timeOf('k.us')}, k.seq
       FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS k (provider, symbol, us, seq)
     ON CONFLICT DO NOTHING`,
    [
      place.name.topic,
      place.name.group,
      late.map(({ provider }) => provider),
      late.map(({ symbol }) => symbol),
      late.map(({ tsUs }) => tsUs),
      late.map(({ seq }) => seq.toString()),
    ],
  );
}

async function writeDigests(
  client: Client,
  { topic, group }: GroupName,
  symbols: readonly SymbolState[],
  shape: string,
): Promise<void> {
  const rows = symbols.flatMap(({ runId, provider, symbol, digests = [] }) =>
    digests.map((each) => ({ runId, provider, symbol, ...each })),
  );
  if (rows.length === 0) return;
  await client.query(
    `INSERT INTO feature_digests (topic, group_name, shape, replay_run_id, provider, symbol, ts, first_ts, last_ts, rows, digest)
     SELECT $1, $2, $3, k.run, k.provider, k.symbol, ${timeOf('k.us')}, ${timeOf('k.first_us')}, ${timeOf('k.last_us')}, k.rows,
            decode(k.digest, 'hex')
       FROM unnest($4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])
         AS k (run, provider, symbol, us, first_us, last_us, rows, digest)
     ON CONFLICT (topic, group_name, replay_run_id, provider, symbol, ts) DO UPDATE
       SET shape = excluded.shape, first_ts = excluded.first_ts, last_ts = excluded.last_ts, rows = excluded.rows, digest = excluded.digest, updated_at = now()`,
    [
      topic,
      group,
      shape,
      rows.map(({ runId }) => runId.toString()),
      rows.map(({ provider }) => provider),
      rows.map(({ symbol }) => symbol),
      rows.map(({ hourUs }) => hourUs),
      rows.map(({ firstUs }) => firstUs),
      rows.map(({ lastUs }) => lastUs),
      rows.map(({ rows: count }) => count),
      rows.map(({ digest }) => digestText(digest)),
    ],
  );
}

function* parts(symbols: readonly SymbolState[]): Generator<readonly SymbolState[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, { state }] of symbols.entries()) {
    if (at > from && bytes + state.length > STATES_BYTES) {
      yield symbols.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += state.length;
  }
  if (from < symbols.length) yield symbols.slice(from);
}

/** Where the live features of a symbol began, µs; null: nobody has computed any. */
export async function anchorOf(
  client: Client,
  group: string,
  { provider, symbol }: Omit<SymbolKey, 'runId'>,
): Promise<number | null> {
  const { rows } = await client.query<{ us: string | null }>(
    `SELECT ${microsOf('min(anchor)')} AS us FROM feature_states
      WHERE group_name = $1 AND provider = $2 AND symbol = $3 AND replay_run_id = 0`,
    [group, provider, symbol],
  );
  const us = rows[0]?.us ?? null;
  return us === null ? null : Number(us);
}

/** Digests of the hours that touch a range, of live rows of these features. */
export async function seenHours(
  client: Client,
  { topic, group, provider, startUs, endUs }: SeenRange,
  symbol: string,
  shape: string,
): Promise<HourDigest[]> {
  const { rows } = await client.query<{
    us: string;
    first_us: string;
    last_us: string;
    rows: string;
    digest: string;
  }>(
    `SELECT ${microsOf('ts')} AS us, ${microsOf('first_ts')} AS first_us, ${microsOf('last_ts')} AS last_us, rows,
            encode(digest, 'hex') AS digest
       FROM feature_digests
      WHERE topic = $1 AND group_name = $2 AND replay_run_id = 0 AND provider = $3 AND symbol = $4 AND shape = $5
        AND last_ts >= ${timeOf('$6')} AND first_ts < ${timeOf('$7')}
      ORDER BY ts`,
    [topic, group, provider, symbol, shape, startUs, endUs],
  );
  return rows.map((row) => ({
    hourUs: Number(row.us),
    firstUs: Number(row.first_us),
    lastUs: Number(row.last_us),
    rows: Number(row.rows),
    digest: BigInt(`0x${row.digest}`),
  }));
}

export interface SeenRange {
  topic: string;
  group: string;
  provider: string;
  startUs: number;
  endUs: number;
}

function placeOf({ name, held }: { name: GroupName; held: { partition: number } }): [string, string, number] {
  return [name.topic, name.group, held.partition];
}
