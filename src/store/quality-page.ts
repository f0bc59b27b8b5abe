import { DatabaseError, type Client } from 'pg';
import type { TickRange } from '../core/ingest/ranges.ts';

/** What can be wrong with a row; the name is the same everywhere. */
export const ROW_FINDINGS = [
  'tick_twice',
  'transaction_twice',
  'tick_without_proof',
  'proof_without_tick',
  'transaction_without_tick',
  'link_broken',
  'link_unknown',
  'time_backwards',
  'tx_hash',
  'batch_hash',
  'vdf_input',
] as const;

export type RowFinding = (typeof ROW_FINDINGS)[number];

export interface Page {
  /** numbers of the range that `ticks` does not hold */
  missing: TickRange[];
  transactions: number;
  /** µs since 1970 of the earliest and the latest tick, null without any */
  times: { first: bigint; last: bigint } | null;
  /** tick numbers, one for each row concerned */
  found: Map<RowFinding, bigint[]>;
}

/** How values become bytes in SQL. */
interface Bytes {
  hex: (column: string) => string;
  /** be64 of a numeric(20, 0) that holds a u64 */
  u64: (column: string) => string;
  /** be64 of the microseconds of a timestamptz */
  micros: (column: string) => string;
}

/** What is above 2^63 - 1 has the bits of a negative number. */
const WRAPPED = (column: string): string => `int8send((${column} - 18446744073709551616)::bigint)`;
const MICROS = (column: string): string => `int8send((extract(epoch FROM ${column}) * 1000000)::bigint)`;

/** Raises class 22 at a value that the ingester never writes, 0A000 at a number that is none. */
const FAST: Bytes = {
  hex: (column) => `decode(${column}, 'hex')`,
  u64: (column) =>
    `CASE WHEN ${column} <= 9223372036854775807 THEN int8send(${column}::bigint) ELSE ${WRAPPED(column)} END`,
  micros: MICROS,
};

/** Rows that somebody changed may hold anything: what cannot be read is null here and equals nothing. Slower by half. */
const CAREFUL: Bytes = {
  hex: (column) =>
    `CASE WHEN ${column} ~ '^[0-9a-fA-F]*$' AND length(${column}) % 2 = 0 THEN decode(${column}, 'hex') END`,
  u64: (column) =>
    `CASE WHEN ${column} BETWEEN 0 AND 9223372036854775807 THEN int8send(${column}::bigint)
       WHEN ${column} BETWEEN 9223372036854775808 AND 18446744073709551615 THEN ${WRAPPED(column)} END`,
  micros: (column) => `CASE WHEN isfinite(${column}) THEN ${MICROS(column)} END`,
};

const numbersWhere = (condition: string, number: string): string =>
  `array_agg(${number}) FILTER (WHERE ${condition})`;

const NUMBERS_SQL = `
SELECT count(*) FILTER (WHERE n >= $1) AS rows, min(n) FILTER (WHERE n >= $1) AS first, max(n) AS last,
  (extract(epoch FROM min(at) FILTER (WHERE n >= $1 AND isfinite(at))) * 1000000)::bigint AS first_us,
  (extract(epoch FROM max(at) FILTER (WHERE n >= $1 AND isfinite(at))) * 1000000)::bigint AS last_us,
  ${numbersWhere('before >= $1 AND before < n - 1', 'before + 1')} AS hole_firsts,
  ${numbersWhere('before >= $1 AND before < n - 1', 'n - 1')} AS hole_lasts,
  ${numbersWhere('before = n AND n >= $1', 'n')} AS tick_twice,
  ${numbersWhere('before = n - 1 AND at < at_before', 'n')} AS time_backwards
FROM (
  SELECT tick_number AS n, "timestamp" AS at,
    lag(tick_number) OVER by_number AS before, lag("timestamp") OVER by_number AS at_before
  FROM ticks WHERE tick_number BETWEEN $1::bigint - 1 AND $2::bigint
  WINDOW by_number AS (ORDER BY tick_number, "timestamp")
) t`;

const LINK_BROKEN = 't.previous_output <> p.output AND lower(t.previous_output) <> lower(p.output)';
const PREVIOUS = 'coalesce(t.previous_output, p.output)';

/** null: hashes are not asked for */
type Reading = Bytes | null;

const proofsSql = (read: Reading): string => `
SELECT ${numbersWhere('v.tick_number IS NULL', 't.tick_number')} AS tick_without_proof,
  ${numbersWhere('t.tick_number IS NULL', 'v.tick_number')} AS proof_without_tick,
  ${numbersWhere(LINK_BROKEN, 't.tick_number')} AS link_broken,
  ${numbersWhere(`t.tick_number IS NOT NULL AND ${PREVIOUS} IS NULL`, 't.tick_number')} AS link_unknown,
  ${read === null ? 'NULL' : numbersWhere(inputWrong(read), 't.tick_number')} AS vdf_input
FROM (SELECT * FROM ticks WHERE tick_number BETWEEN $1 AND $2) t
FULL JOIN (SELECT * FROM vdf_proofs WHERE tick_number BETWEEN $1 AND $2) v ON v.tick_number = t.tick_number
LEFT JOIN (SELECT tick_number + 1 AS next, output FROM vdf_proofs WHERE tick_number BETWEEN $1::bigint - 1 AND $2::bigint - 1) p
  ON p.next = t.tick_number`;

const inputWrong = ({ hex }: Bytes): string =>
  `t.tick_number = v.tick_number AND ${PREVIOUS} IS NOT NULL AND ${hex('v.input')}
     IS DISTINCT FROM sha256(${hex(PREVIOUS)} || ${hex('t.batch_hash')} || int8send(t.tick_number))`;

const transactionsSql = (read: Reading): string => `
SELECT count(*) AS rows,
  ${numbersWhere('t.tick_number IS NULL', 'x.tick_number')} AS transaction_without_tick,
  ${read === null ? 'NULL' : numbersWhere(txHashWrong(read), 'x.tick_number')} AS tx_hash
FROM (SELECT * FROM tick_transactions WHERE tick_number BETWEEN $1 AND $2) x
LEFT JOIN (SELECT tick_number, "timestamp" FROM ticks WHERE tick_number BETWEEN $1 AND $2) t
  ON t.tick_number = x.tick_number AND t."timestamp" = x.tick_timestamp`;

/** Also when a value is there in neither or in both of its two columns. */
const txHashWrong = ({ hex, u64, micros }: Bytes): string =>
  `${hex('tx_hash')} IS DISTINCT FROM sha256(coalesce(tx_id_raw, convert_to(tx_id, 'UTF8'))
    || payload || signature || public_key || ${u64('nonce')}
    || CASE WHEN timestamp_us IS NULL THEN ${micros('x."timestamp"')} ELSE ${u64('timestamp_us')} END)
  OR (tx_id IS NULL) = (tx_id_raw IS NULL) OR (x."timestamp" IS NULL) = (timestamp_us IS NULL)`;

/** Each tick with the hashes of its transactions one after the other. */
const batchesSql = (read: Reading): string => `
SELECT ${numbersWhere('x.rows > x.distinct_rows', 'x.tick_number')} AS transaction_twice,
  ${read === null ? 'NULL' : numbersWhere(batchHashWrong(read), 't.tick_number')} AS batch_hash
FROM (SELECT tick_number, count(*) AS rows, count(DISTINCT sequence_number) AS distinct_rows,
    string_agg(tx_hash, '' ORDER BY sequence_number) AS hashes
  FROM tick_transactions WHERE tick_number BETWEEN $1 AND $2 GROUP BY tick_number) x
FULL JOIN (SELECT tick_number, batch_hash FROM ticks WHERE tick_number BETWEEN $1 AND $2) t
  ON t.tick_number = x.tick_number`;

const batchHashWrong = ({ hex }: Bytes): string =>
  `t.tick_number IS NOT NULL AND ${hex('t.batch_hash')}
     IS DISTINCT FROM sha256(CASE WHEN x.tick_number IS NULL THEN '' ELSE ${hex('x.hashes')} END)`;

type Row = Record<string, string | string[] | null>;

/**
 * Everything about the rows of [first, last]: some ten thousand ticks at a time, so that no sort leaves the memory.
 * Within a transaction.
 */
export async function readPage(client: Client, page: TickRange, hashes: boolean): Promise<Page> {
  if (!hashes) return toPage(page, await readRows(client, page, null));
  await client.query('SAVEPOINT page');
  try {
    return toPage(page, await readRows(client, page, FAST));
  } catch (error) {
    if (!(error instanceof DatabaseError) || !/^(22|0A)/.test(error.code ?? '')) throw error;
    await client.query('ROLLBACK TO SAVEPOINT page');
    return toPage(page, await readRows(client, page, CAREFUL));
  } finally {
    await client.query('RELEASE SAVEPOINT page').catch(() => {}); // of a failed transaction or a lost connection
  }
}

async function readRows(client: Client, { first, last }: TickRange, read: Reading): Promise<Row[]> {
  const rows: Row[] = [];
  for (const sql of [NUMBERS_SQL, proofsSql(read), transactionsSql(read), batchesSql(read)]) {
    const { rows: answer } = await client.query<Row>(sql, [first.toString(), last.toString()]);
    rows.push(answer[0] ?? {});
  }
  return rows;
}

function toPage({ first, last }: TickRange, rows: readonly Row[]): Page {
  const [numbers = {}, proofs = {}, transactions = {}, batches = {}] = rows;
  const found = new Map<RowFinding, bigint[]>();
  for (const name of ROW_FINDINGS) {
    const ticks = [numbers, proofs, transactions, batches].flatMap((row) => bigints(row[name]));
    if (ticks.length > 0) found.set(name, ticks);
  }
  return {
    missing: missingOf(numbers, { first, last }),
    transactions: Number(transactions['rows'] ?? 0),
    times:
      numbers['first_us'] == null
        ? null
        : { first: BigInt(String(numbers['first_us'])), last: BigInt(String(numbers['last_us'])) },
    found,
  };
}

function missingOf(row: Row, { first, last }: TickRange): TickRange[] {
  if (Number(row['rows'] ?? 0) === 0) return [{ first, last }];
  const [lowest, highest] = [BigInt(String(row['first'])), BigInt(String(row['last']))];
  const lasts = bigints(row['hole_lasts']);
  const holes = bigints(row['hole_firsts']).map((hole, at) => ({ first: hole, last: lasts[at] ?? hole }));
  if (lowest > first) holes.unshift({ first, last: lowest - 1n });
  if (highest < last) holes.push({ first: highest + 1n, last });
  return holes;
}

function bigints(value: string | string[] | null | undefined): bigint[] {
  return Array.isArray(value) ? value.map(BigInt) : [];
}
