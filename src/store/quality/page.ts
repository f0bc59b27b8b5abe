import { DatabaseError, type Client } from 'pg';
import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import type { TickChunks } from '../chunks/tick-chunks.ts';
import { microsOf } from '../postgres/time-sql.ts';

/** What can be wrong with a row; the names are the same everywhere. */
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
  /** numbers of the range missing in `ticks` */
  missing: TickRange[];
  transactions: number;
  /** µs since 1970 of the earliest and the latest tick, null without any */
  times: { first: bigint; last: bigint } | null;
  /** the ticks concerned, each once */
  found: Map<RowFinding, bigint[]>;
}

/** How values are encoded as bytes in SQL. */
interface Bytes {
  hex: (column: string) => string;
  /** be64 of a numeric(20, 0) that holds a u64 */
  u64: (column: string) => string;
  /** be64 of the microseconds of a timestamptz */
  micros: (column: string) => string;
}

/** Values above 2^63 - 1 have the bits of a negative number. */
const WRAPPED = (column: string): string => `int8send((${column} - 18446744073709551616)::bigint)`;
const MICROS = (column: string): string => `int8send(${microsOf(column)})`;

/** Raises class 22 for a value that the ingester never writes, 0A000 for one that is not a number. */
const FAST: Bytes = {
  hex: (column) => `decode(${column}, 'hex')`,
  u64: (column) =>
    `CASE WHEN ${column} <= 9223372036854775807 THEN int8send(${column}::bigint) ELSE ${WRAPPED(column)} END`,
  micros: MICROS,
};

/** Rows changed by hand may hold anything: an unreadable value is null here and equals nothing. Slower by half. */
const CAREFUL: Bytes = {
  hex: (column) =>
    `CASE WHEN ${column} ~ '^[0-9a-fA-F]*$' AND length(${column}) % 2 = 0 THEN decode(${column}, 'hex') END`,
  u64: (column) =>
    `CASE WHEN ${column} BETWEEN 0 AND 9223372036854775807 THEN int8send(${column}::bigint)
       WHEN ${column} BETWEEN 9223372036854775808 AND 18446744073709551615 THEN ${WRAPPED(column)} END`,
  micros: (column) => `CASE WHEN isfinite(${column}) THEN ${MICROS(column)} END`,
};

const numbersWhere = (condition: string, number = 'n'): string =>
  `array_agg(${number}) FILTER (WHERE n >= $1 AND (${condition}))`;

/** SELECTs of the rows of a page; of ticks from the one before it on. */
interface Sources {
  ticks: string;
  transactions: string;
}

function sourcesOf({ first, last }: TickRange, chunks: TickChunks): Sources {
  const before = first > 0n ? first - 1n : first;
  return {
    ticks: chunks.select('ticks', '*', `tick_number BETWEEN ${before} AND ${last}`, { first: before, last }),
    transactions: chunks.select('tick_transactions', '*', `tick_number BETWEEN ${first} AND ${last}`, {
      first,
      last,
    }),
  };
}

/** null: hashes are not requested */
type Reading = Bytes | null;

/** The previous row belongs to the previous tick. */
const FOLLOWS = 'n_before = n - 1';
const PREVIOUS = `coalesce(previous_output, CASE WHEN ${FOLLOWS} THEN output_before END)`;

/** Ticks and proofs side by side in the order of their numbers, each with the previous row. */
const ticksSql = (read: Reading, { ticks }: Sources): string => `
SELECT min(n) FILTER (WHERE n >= $1) AS first, max(n) FILTER (WHERE n >= $1) AS last,
  ${microsOf('min(at) FILTER (WHERE n >= $1 AND isfinite(at))')} AS first_us,
  ${microsOf('max(at) FILTER (WHERE n >= $1 AND isfinite(at))')} AS last_us,
  ${numbersWhere('n_before >= $1 AND n_before < n - 1', 'n_before + 1')} AS hole_firsts,
  ${numbersWhere('n_before >= $1 AND n_before < n - 1', 'n - 1')} AS hole_lasts,
  ${numbersWhere('n_before = n')} AS tick_twice,
  ${numbersWhere(`${FOLLOWS} AND at < at_before`)} AS time_backwards,
  ${numbersWhere('tick IS NOT NULL AND proof IS NULL')} AS tick_without_proof,
  ${numbersWhere('tick IS NULL')} AS proof_without_tick,
  ${numbersWhere(`${FOLLOWS} AND previous_output <> output_before AND lower(previous_output) <> lower(output_before)`)} AS link_broken,
  ${numbersWhere(`tick IS NOT NULL AND n_before IS DISTINCT FROM n AND ${PREVIOUS} IS NULL`)} AS link_unknown,
  ${read === null ? 'NULL' : numbersWhere(inputWrong(read))} AS vdf_input
FROM (
  SELECT *, lag(n) OVER by_number AS n_before, lag(at) OVER by_number AS at_before,
    lag(output) OVER by_number AS output_before
  FROM (
    SELECT coalesce(t.tick_number, v.tick_number) AS n, t.tick_number AS tick, v.tick_number AS proof,
      t."timestamp" AS at, t.batch_hash, t.previous_output, v.input, v.output
    FROM (${ticks}) t
    FULL JOIN (SELECT * FROM vdf_proofs WHERE tick_number BETWEEN $1::bigint - 1 AND $2::bigint) v
      ON v.tick_number = t.tick_number
  ) pairs
  WINDOW by_number AS (ORDER BY n, at)
) rows`;

const inputWrong = ({ hex }: Bytes): string =>
  `tick = proof AND ${PREVIOUS} IS NOT NULL AND ${hex('input')}
     IS DISTINCT FROM sha256(${hex(PREVIOUS)} || ${hex('batch_hash')} || int8send(n))`;

/** The transactions of each tick together, beside their tick. OFFSET 0: a row is checked before the wide ones are sorted. */
const transactionsSql = (read: Reading, { ticks, transactions }: Sources): string => `
SELECT sum(rows) AS rows,
  ${numbersWhere('rows > distinct_rows')} AS transaction_twice,
  ${numbersWhere('rows > 0 AND (tick IS NULL OR tick_from < at_first OR tick_to > at_last)')} AS transaction_without_tick,
  ${numbersWhere('wrong > 0')} AS tx_hash,
  ${read === null ? 'NULL' : numbersWhere(batchHashWrong(read))} AS batch_hash
FROM (
  SELECT coalesce(t.tick_number, x.tick_number) AS n, t.tick_number AS tick, t.at_first, t.at_last, t.batch_hash, x.*
  FROM (
    SELECT tick_number, count(*) AS rows, count(DISTINCT sequence_number) AS distinct_rows,
      min(tick_timestamp) AS tick_from, max(tick_timestamp) AS tick_to, count(*) FILTER (WHERE is_wrong) AS wrong,
      string_agg(tx_hash, '' ORDER BY sequence_number) AS hashes
    FROM (
      SELECT tick_number, sequence_number, tick_timestamp, tx_hash, ${read === null ? 'false' : txHashWrong(read)} AS is_wrong
      FROM (${transactions}) stored OFFSET 0
    ) judged GROUP BY tick_number
  ) x
  FULL JOIN (
    SELECT tick_number, min("timestamp") AS at_first, max("timestamp") AS at_last, min(batch_hash) AS batch_hash
    FROM (${ticks}) stored WHERE tick_number BETWEEN $1 AND $2 GROUP BY tick_number
  ) t ON t.tick_number = x.tick_number
) rows`;

/** Also when a value is present in neither or both of its two columns. */
const txHashWrong = ({ hex, u64, micros }: Bytes): string =>
  `(${hex('tx_hash')} IS DISTINCT FROM sha256(coalesce(tx_id_raw, convert_to(tx_id, 'UTF8'))
    || payload || signature || public_key || ${u64('nonce')}
    || CASE WHEN timestamp_us IS NULL THEN ${micros('"timestamp"')} ELSE ${u64('timestamp_us')} END)
  OR (tx_id IS NULL) = (tx_id_raw IS NULL) OR ("timestamp" IS NULL) = (timestamp_us IS NULL))`;

const batchHashWrong = ({ hex }: Bytes): string =>
  `tick IS NOT NULL AND ${hex('batch_hash')}
     IS DISTINCT FROM sha256(CASE WHEN rows IS NULL THEN '' ELSE ${hex('hashes')} END)`;

type Row = Record<string, string | string[] | null>;

/**
 * Checks all rows of [first, last]: some ten thousand ticks at a time, so that no sort spills to disk. Call it within a
 * transaction.
 */
export async function readPage(
  client: Client,
  page: TickRange,
  hashes: boolean,
  chunks: TickChunks,
): Promise<Page> {
  const sources = sourcesOf(page, chunks);
  if (!hashes) return toPage(page, await readRows(client, page, null, sources));
  await client.query('SAVEPOINT page');
  try {
    return toPage(page, await readRows(client, page, FAST, sources));
  } catch (error) {
    if (!(error instanceof DatabaseError) || !/^(22|0A)/.test(error.code ?? '')) throw error;
    await client.query('ROLLBACK TO SAVEPOINT page');
    return toPage(page, await readRows(client, page, CAREFUL, sources));
  } finally {
    await client.query('RELEASE SAVEPOINT page').catch(() => {}); // of a failed transaction or a lost connection
  }
}

async function readRows(
  client: Client,
  { first, last }: TickRange,
  read: Reading,
  sources: Sources,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const sql of [ticksSql(read, sources), transactionsSql(read, sources)]) {
    const { rows: answer } = await client.query<Row>(sql, [first.toString(), last.toString()]);
    rows.push(answer[0] ?? {});
  }
  return rows;
}

function toPage({ first, last }: TickRange, rows: readonly Row[]): Page {
  const [ticks = {}, transactions = {}] = rows;
  const found = new Map<RowFinding, bigint[]>();
  for (const name of ROW_FINDINGS) {
    const numbers = [...bigints(ticks[name]), ...bigints(transactions[name])];
    if (numbers.length > 0) found.set(name, numbers);
  }
  return {
    missing: missingOf(ticks, { first, last }),
    transactions: Number(transactions['rows'] ?? 0),
    times:
      ticks['first_us'] == null
        ? null
        : { first: BigInt(String(ticks['first_us'])), last: BigInt(String(ticks['last_us'])) },
    found,
  };
}

function missingOf(row: Row, { first, last }: TickRange): TickRange[] {
  if (row['first'] == null) return [{ first, last }];
  const [lowest, highest] = [BigInt(String(row['first'])), BigInt(String(row['last']))];
  const lasts = bigints(row['hole_lasts']);
  const holes = bigints(row['hole_firsts']).map((hole, at) => ({ first: hole, last: lasts[at] ?? hole }));
  if (lowest > first) holes.push({ first, last: lowest - 1n });
  if (highest < last) holes.push({ first: highest + 1n, last });
  // a proof alone is no tick
  holes.push(...bigints(row['proof_without_tick']).map((number) => ({ first: number, last: number })));
  return [...new RangeSet(holes).list()];
}

function bigints(value: string | string[] | null | undefined): bigint[] {
  return Array.isArray(value) ? value.map(BigInt) : [];
}
