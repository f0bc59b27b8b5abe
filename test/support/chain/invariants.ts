import assert from 'node:assert/strict';
import type { Client } from 'pg';

/** What one look at the store found; all of it in one snapshot. */
export interface Snapshot {
  origin: bigint | null;
  position: bigint | null;
  completeUpTo: bigint | null;
  ticks: bigint;
  transactions: bigint;
  deadLetters: bigint;
  openGaps: { first: bigint; last: bigint }[];
  /** given up */
  unfillable: { first: bigint; last: bigint }[];
}

export interface CheckOptions {
  /** recompute tx_hash, batch_hash, vdf_input and links of all that is stored, in SQL; it reads every payload */
  hashes?: boolean;
  /** nothing is under way: everything recorded is contiguous up to its end */
  atRest?: boolean;
  /** rows of ticks up to this one were looked at before; counts, ledger and gaps are always those of everything */
  settled?: bigint | null;
}

/** A query that returns the rows which should not be there, at most three. $from: rows of ticks above it are read. */
interface Rule {
  name: string;
  sql: string;
}

const LEDGER_AND_GAPS = `SELECT first_tick, last_tick FROM ingest_ledger
  UNION ALL SELECT first_tick, last_tick FROM ingest_gaps WHERE state <> 'filled'`;

const RULES: readonly Rule[] = [
  {
    name: 'a range of the ledger or a gap overlaps another one',
    sql: `SELECT * FROM (
        SELECT first_tick, last_tick, max(last_tick) OVER (ORDER BY first_tick, last_tick ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
        FROM (${LEDGER_AND_GAPS}) r) w WHERE reached >= first_tick LIMIT 3`,
  },
  {
    name: 'a filled gap is not in the ledger',
    sql: `SELECT g.first_tick, g.last_tick FROM ingest_gaps g WHERE g.state = 'filled' AND g.last_tick - g.first_tick + 1 <>
        (SELECT coalesce(sum(least(l.last_tick, g.last_tick) - greatest(l.first_tick, g.first_tick) + 1), 0)
           FROM ingest_ledger l WHERE l.first_tick <= g.last_tick AND l.last_tick >= g.first_tick) LIMIT 3`,
  },
  {
    name: 'a row of the ledger does not account for its range',
    sql: `SELECT * FROM ingest_ledger WHERE ticks + dead_letters <> last_tick - first_tick + 1 OR ticks < 0 OR dead_letters < 0 LIMIT 3`,
  },
  {
    name: 'the ledger counts other numbers of rows than there are',
    sql: `SELECT * FROM (SELECT
          (SELECT coalesce(sum(ticks), 0) FROM ingest_ledger) AS ledger_ticks,
          (SELECT coalesce(sum(transactions), 0) FROM ingest_ledger) AS ledger_transactions,
          (SELECT coalesce(sum(dead_letters), 0) FROM ingest_ledger) AS ledger_dead_letters,
          (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM vdf_proofs) AS proofs,
          (SELECT count(*) FROM tick_transactions) AS transactions,
          (SELECT count(DISTINCT tick_number) FROM dead_letters
            WHERE after_tick IS NULL AND reason <> 'conflict' AND status = 'open') AS dead_letters) c
        WHERE ledger_ticks <> ticks OR ticks <> proofs OR ledger_transactions <> transactions
           OR ledger_dead_letters <> dead_letters`,
  },
  {
    name: 'a tick without its proof, or a proof without its tick',
    sql: `SELECT t.tick_number AS tick, v.tick_number AS proof
        FROM (SELECT tick_number FROM ticks WHERE tick_number > $from) t
        FULL JOIN (SELECT tick_number FROM vdf_proofs WHERE tick_number > $from) v USING (tick_number)
        WHERE t.tick_number IS NULL OR v.tick_number IS NULL LIMIT 3`,
  },
  {
    name: 'a tick that is there twice',
    sql: 'SELECT tick_number, count(*) FROM ticks WHERE tick_number > $from GROUP BY tick_number HAVING count(*) > 1 LIMIT 3',
  },
  {
    name: 'a tick outside of the ledger',
    sql: `SELECT t.tick_number FROM ticks t LEFT JOIN LATERAL (
          SELECT last_tick FROM ingest_ledger l WHERE l.first_tick <= t.tick_number ORDER BY l.first_tick DESC LIMIT 1) l ON true
        WHERE t.tick_number > $from AND (l.last_tick IS NULL OR l.last_tick < t.tick_number) LIMIT 3`,
  },
  {
    name: 'a transaction without its tick',
    sql: `SELECT x.tick_number, x.sequence_number FROM tick_transactions x
        LEFT JOIN (SELECT tick_number, "timestamp" FROM ticks WHERE tick_number > $from) t
          ON t.tick_number = x.tick_number AND t."timestamp" = x.tick_timestamp
        WHERE x.tick_number > $from AND t.tick_number IS NULL LIMIT 3`,
  },
  {
    name: 'a tick whose transactions are not those of its batch_hash',
    sql: `SELECT t.tick_number FROM ticks t LEFT JOIN (
          SELECT tick_number, string_agg(decode(tx_hash, 'hex'), ''::bytea ORDER BY sequence_number) AS hashes
            FROM tick_transactions WHERE tick_number > $from GROUP BY tick_number) x USING (tick_number)
        WHERE t.tick_number > $from AND encode(sha256(coalesce(x.hashes, ''::bytea)), 'hex') <> t.batch_hash LIMIT 3`,
  },
];

/** int8send of a u64: what is above 2^63 - 1 has the same bits as a negative number. */
const be64 = (column: string): string =>
  `int8send((CASE WHEN ${column} > 9223372036854775807 THEN ${column} - 18446744073709551616 ELSE ${column} END)::bigint)`;

const HASH_RULES: readonly Rule[] = [
  {
    name: 'a tx_hash that does not follow from its transaction',
    sql: `SELECT tick_number, sequence_number FROM (SELECT *,
          coalesce(timestamp_us, extract(epoch FROM "timestamp") * 1000000)::numeric AS micros FROM tick_transactions) x
        WHERE encode(sha256(coalesce(tx_id_raw, convert_to(tx_id, 'UTF8')) || payload || signature || public_key
          || ${be64('nonce')} || ${be64('micros')}), 'hex') <> tx_hash
          OR (tx_id IS NULL) = (tx_id_raw IS NULL) OR ("timestamp" IS NULL) = (timestamp_us IS NULL) LIMIT 3`,
  },
  {
    name: 'a vdf_input that does not follow from its tick',
    sql: `SELECT tick_number FROM v_ticks_complete
        WHERE encode(sha256(decode(previous_output, 'hex') || decode(batch_hash, 'hex') || int8send(tick_number)), 'hex') <> vdf_input
           OR previous_output IS NULL LIMIT 3`,
  },
  {
    name: 'a link to the tick before that does not hold',
    sql: `SELECT t.tick_number FROM v_ticks_complete t JOIN vdf_proofs p ON p.tick_number = t.tick_number - 1
        WHERE p.output <> t.previous_output LIMIT 3`,
  },
  {
    name: 'an output without squarings that is not its seed',
    sql: `SELECT tick_number FROM (SELECT tick_number, output, sha256(decode(input, 'hex')) AS x FROM vdf_proofs WHERE iterations = 0) v
        WHERE lpad(encode(set_byte(x, 31, get_byte(x, 31) | 1), 'hex'), 512, '0') <> output LIMIT 3`,
  },
];

/**
 * Checks what must hold at any moment, also while daemons write: the ledger's promises and that a tick is visible with
 * its proof and all of its transactions or not at all. In one snapshot, in SQL alone.
 * @throws AssertionError that names the rule and the first rows against it
 */
export async function checkInvariants(client: Client, options: CheckOptions = {}): Promise<Snapshot> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    // fresh tables have no statistics: what looks like one row to the planner is all of them
    // what does not fit into memory must not go to a disk that a test has filled
    await client.query(
      "SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'; SET LOCAL temp_tablespaces = 'pg_default'",
    );
    for (const { name, sql } of options.hashes === true ? [...RULES, ...HASH_RULES] : RULES) {
      const { rows } = await client.query(sql.replaceAll('$from', `${options.settled ?? -1n}`));
      assert.deepEqual(rows, [], name);
    }
    const snapshot = await readSnapshot(client);
    await checkPosition(client, snapshot, options.atRest === true);
    return snapshot;
  } finally {
    await client.query('COMMIT').catch(() => {}); // a connection that is gone says so above
  }
}

async function readSnapshot(client: Client): Promise<Snapshot> {
  const { rows } = await client.query<Record<string, string | null>>(
    `SELECT p.*, (SELECT count(*) FROM ticks) AS ticks, (SELECT count(*) FROM tick_transactions) AS transactions,
       (SELECT count(*) FROM dead_letters) AS dead_letters FROM ingest_position() p`,
  );
  const row = rows[0];
  const number = (column: string): bigint | null => (row[column] == null ? null : BigInt(row[column]));
  const gaps = await client.query<{ first_tick: string; last_tick: string; state: string }>(
    'SELECT first_tick, last_tick, state FROM ingest_gaps ORDER BY first_tick',
  );
  const ofState = (state: string): { first: bigint; last: bigint }[] =>
    gaps.rows
      .filter((gap) => gap.state === state)
      .map((gap) => ({ first: BigInt(gap.first_tick), last: BigInt(gap.last_tick) }));
  return {
    origin: number('origin'),
    position: number('position'),
    completeUpTo: number('complete_up_to'),
    ticks: number('ticks') ?? 0n,
    transactions: number('transactions') ?? 0n,
    deadLetters: number('dead_letters') ?? 0n,
    openGaps: ofState('open'),
    unfillable: ofState('unfillable'),
  };
}

/** The position once more, by a walk over the ranges here instead of in SQL. */
async function checkPosition(client: Client, snapshot: Snapshot, atRest: boolean): Promise<void> {
  const { origin, position } = snapshot;
  const { rows } = await client.query<{ first_tick: string; last_tick: string }>(
    `${LEDGER_AND_GAPS} ORDER BY first_tick, last_tick`,
  );
  if (origin === null) {
    assert.deepEqual(rows, [], 'something is recorded without an origin');
    return;
  }
  let reached = origin - 1n;
  let beyond = 0;
  for (const row of rows) {
    const [first, last] = [BigInt(row.first_tick), BigInt(row.last_tick)];
    if (first <= reached + 1n) reached = last > reached ? last : reached;
    else beyond += 1;
  }
  assert.equal(
    position,
    reached < origin ? null : reached,
    'ingest_position() against a walk over ledger and gaps',
  );
  if (atRest)
    assert.equal(beyond, 0, 'ranges of the ledger beyond the position although nothing is under way');
  const open = snapshot.openGaps[0];
  const complete =
    open === undefined || position === null || open.first > position ? position : open.first - 1n;
  assert.equal(snapshot.completeUpTo, complete, 'complete_up_to');
}

/** Position of the store, null before its first tick. */
export async function readPosition(client: Client): Promise<bigint | null> {
  const { rows } = await client.query<{ position: string | null }>(
    'SELECT "position" FROM ingest_position()',
  );
  const position = rows[0]?.position;
  return position == null ? null : BigInt(position);
}
