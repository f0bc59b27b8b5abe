import type { Client } from 'pg';
import { explainMissing } from '../../core/ingest/missing.ts';
import { RangeSet, type TickRange } from '../../core/ingest/ranges.ts';
import type { Micros } from '../../core/time.ts';
import { readPage, type RowFinding } from './page.ts';
import { readEnds, type QualityBound } from './range.ts';
import { readChainFloor } from '../retention/chain.ts';
import { releasingLocks } from '../chunks/locks.ts';
import { TickChunks } from '../chunks/tick-chunks.ts';
import { inSnapshot } from '../postgres/transaction.ts';

export interface QualityOptions {
  /** null: the first tick ever received */
  from: QualityBound | null;
  /** null: the position */
  to: QualityBound | null;
  /** recompute tx_hash, batch_hash and vdf_input of every row */
  hashes: boolean;
  /** called after each page: how many numbers of the range are done */
  onProgress: (done: bigint, total: bigint) => void;
}

/** Why a tick of the range is not in the tables. */
export const MISSING_CAUSES = [
  'open_gap',
  'dead_letter',
  'unexplained',
  'not_recorded',
  'unfillable_gap',
  'skipped_gap',
] as const;

export type MissingCause = (typeof MISSING_CAUSES)[number];

/** How many times something was found, and the first ticks concerned, ascending. */
export interface Found {
  count: number;
  first: bigint[];
}

export interface DeadLetterGroup extends Found {
  reason: string;
  status: string;
  /** its number can be used */
  numbered: boolean;
}

export interface QualityReport {
  chainId: string;
  origin: bigint;
  position: bigint;
  completeUpTo: bigint | null;
  /** retention has dropped ticks below it; null: it has dropped none */
  floor: bigint | null;
  /** null: it contains no number */
  range: TickRange | null;
  expected: bigint;
  /** numbers of the range that are in `ticks` */
  stored: bigint;
  transactions: number;
  /** of the earliest and the latest stored tick, µs since 1970 */
  times: { first: Micros; last: Micros } | null;
  hashes: boolean;
  missing: Map<MissingCause, RangeSet>;
  /** stored although a gap covers the number */
  storedInGap: Found;
  rows: Map<RowFinding, Found>;
  /** what CHAIN_CHECK recorded */
  alarms: Map<string, Found>;
  /** a frame without a number is ordered after its after_tick */
  deadLetters: DeadLetterGroup[];
}

/** Nothing in the requested range was ever received, so nothing can be said about it. */
export class NothingRecordedError extends Error {}

/** Numbers per page: at 2.7 KB a tick its joins fit in a session's work memory. */
const PAGE_TICKS = 16_384n;
/** Chunks that a page reads, each at the cost of three or four locks; a server has some 6,400 of them. */
export const PAGE_CHUNKS_MAX = 256;
const EXAMPLES = 5;

/**
 * Settings for tables that may not have statistics yet: PostgreSQL then estimates thousands of rows as a few, and joins
 * them in a nested loop or reads a whole table for one page of it.
 */
export const PLANNER = [
  'enable_nestloop = off',
  'enable_seqscan = off',
  'max_parallel_workers_per_gather = 0',
  'jit = off',
  "work_mem = '64MB'",
];

/**
 * Checks everything stored of a range of the chain: what is there against what should be, and whether it is consistent.
 * One REPEATABLE READ READ ONLY snapshot, so it may run beside the ingester and on a replica.
 * @throws NothingRecordedError before the first tick, and when a bound that is a number lies outside of all that is recorded
 */
export async function readQuality(client: Client, options: QualityOptions): Promise<QualityReport> {
  return inSnapshot(client, async () => {
    await client.query(PLANNER.map((setting) => `SET LOCAL ${setting}`).join('; '));
    const chunks = await TickChunks.read(client, releasingLocks(client));
    const report = await readHeader(client, options, chunks);
    if (report.range === null) return report;
    const missing = await readPages(client, report, report.range, options, chunks);
    await explain(client, report, report.range, missing);
    await readAlarms(client, report, report.range);
    await readDeadLetters(client, report, report.range);
    return report;
  });
}

async function readHeader(
  client: Client,
  options: QualityOptions,
  chunks: TickChunks,
): Promise<QualityReport> {
  const { rows } = await client.query<Record<string, string | null>>(
    `SELECT (SELECT chain_id FROM ingest_state) AS chain_id, origin, "position", complete_up_to FROM ingest_position()`,
  );
  const row = rows[0] ?? {};
  const number = (name: string): bigint | null => (row[name] == null ? null : BigInt(row[name]));
  const origin = number('origin');
  const position = number('position');
  if (origin === null || position === null) throw new NothingRecordedError('nothing was ever ingested here');
  const floor = await readChainFloor(client);
  const recorded = { first: larger(origin, floor ?? origin), last: position };
  const { first: asked, last } = await releasingLocks(client)(() =>
    readEnds(client, chunks, { from: options.from, to: options.to }, recorded),
  );
  const first = larger(asked, floor ?? asked);
  const range = first <= last ? { first, last } : null;
  const isByTime = [options.from, options.to].every((bound) => bound === null || 'micros' in bound);
  if (range === null && !isByTime) {
    throw new NothingRecordedError(
      `nothing lies between the bounds: ticks ${recorded.first} to ${position} are recorded${floor === null ? '' : ' and kept'}`,
    );
  }
  return {
    chainId: row['chain_id'] ?? '',
    origin,
    position,
    completeUpTo: number('complete_up_to'),
    floor,
    range,
    expected: range === null ? 0n : last - first + 1n,
    stored: 0n,
    transactions: 0,
    times: null,
    hashes: options.hashes,
    missing: new Map(),
    storedInGap: { count: 0, first: [] },
    rows: new Map(),
    alarms: new Map(),
    deadLetters: [],
  };
}

/** Returns the missing ranges, in order. */
async function readPages(
  client: Client,
  report: QualityReport,
  range: TickRange,
  { hashes, onProgress }: QualityOptions,
  chunks: TickChunks,
): Promise<TickRange[]> {
  const released = releasingLocks(client);
  const missing: TickRange[] = [];
  for (let next = range.first; next <= range.last;) {
    // a gap of millions is passed over in one step
    const from = next;
    const start = await released(() => nextStored(client, chunks, from));
    if (start === null || start > range.last) {
      missing.push({ first: next, last: range.last });
      break;
    }
    if (start > next) missing.push({ first: next, last: start - 1n });
    const end = smaller(start + PAGE_TICKS - 1n, range.last);
    const last = chunks.lastWithin({ first: start, last: end }, PAGE_CHUNKS_MAX);
    const page = await released(() => readPage(client, { first: start, last }, hashes, chunks));
    missing.push(...page.missing);
    report.transactions += page.transactions;
    for (const [name, ticks] of page.found) note(report.rows, name, ticks);
    widen(report, page.times);
    next = last + 1n;
    onProgress(next - range.first, report.expected);
  }
  report.stored = report.expected - new RangeSet(missing).count();
  return missing;
}

async function nextStored(client: Client, chunks: TickChunks, from: bigint): Promise<bigint | null> {
  const lowest = [
    '(SELECT tick_number FROM vdf_proofs WHERE tick_number >= $1 ORDER BY tick_number LIMIT 1)',
    chunks.lowestFrom('ticks', from),
    chunks.lowestFrom('tick_transactions', from),
  ];
  const { rows } = await client.query<{ n: string | null }>(`SELECT least(${lowest.join(', ')}) AS n`, [
    from.toString(),
  ]);
  const found = rows[0]?.n;
  return found == null ? null : BigInt(found);
}

function widen(report: QualityReport, times: QualityReport['times']): void {
  if (times === null) return;
  const { first, last } = report.times ?? times;
  report.times = { first: smaller(first, times.first), last: times.last > last ? times.last : last };
}

/** What is recorded of the missing numbers; and of numbers that are present and should not be. */
async function explain(
  client: Client,
  report: QualityReport,
  range: TickRange,
  missing: readonly TickRange[],
): Promise<void> {
  const bounds = [range.first.toString(), range.last.toString()];
  const gaps = await client.query<{ first_tick: string; last_tick: string; state: string }>(
    `SELECT first_tick, last_tick, state FROM ingest_gaps
      WHERE state <> 'filled' AND last_tick >= $1 AND first_tick <= $2 ORDER BY first_tick`,
    bounds,
  );
  const ofState = (state: string): RangeSet =>
    new RangeSet(
      gaps.rows
        .filter((gap) => gap.state === state)
        .map((gap) => ({
          first: larger(BigInt(gap.first_tick), range.first),
          last: smaller(BigInt(gap.last_tick), range.last),
        })),
    );
  const deadLetters = await client.query<{ n: string }>(
    `SELECT DISTINCT tick_number AS n FROM dead_letters
      WHERE after_tick IS NULL AND reason <> 'conflict' AND status = 'open' AND tick_number BETWEEN $1 AND $2 ORDER BY 1`,
    bounds,
  );
  const standing = new RangeSet(deadLetters.rows.map(({ n }) => ({ first: BigInt(n), last: BigInt(n) })));
  const inGaps: [MissingCause, RangeSet][] = [
    ['open_gap', ofState('open')],
    ['unfillable_gap', ofState('unfillable')],
    ['skipped_gap', ofState('skipped')],
  ];
  const byCause: [MissingCause, RangeSet][] = [
    ...inGaps,
    ['dead_letter', standing],
    ['not_recorded', outside(report, range)],
  ];
  const causes = byCause.map(([cause, set]) => [cause, set.list()] as const);
  for (const cause of MISSING_CAUSES) report.missing.set(cause, new RangeSet());
  const absent = new RangeSet(missing);
  for (const part of explainMissing(absent.list(), causes, 'unexplained')) {
    report.missing.get(part.cause)?.add(part);
  }
  for (const [, gap] of inGaps) {
    for (const stored of gap.list().flatMap((covered) => absent.missing(covered))) {
      report.storedInGap.count += Number(stored.last - stored.first + 1n);
      if (report.storedInGap.first.length < EXAMPLES) report.storedInGap.first.push(stored.first);
    }
  }
}

/** For a range requested by number: the part before the first tick and the part not received yet. */
function outside({ origin, position }: QualityReport, range: TickRange): RangeSet {
  const known = new RangeSet([{ first: origin, last: position }]);
  return new RangeSet(known.missing(range));
}

async function readAlarms(client: Client, report: QualityReport, range: TickRange): Promise<void> {
  const { rows } = await client.query<{ kind: string; count: string; first: string[] }>(
    `SELECT kind, count(*) AS count, (array_agg(tick_number ORDER BY tick_number))[1:${EXAMPLES}] AS first
       FROM chain_alarms WHERE tick_number BETWEEN $1 AND $2 GROUP BY kind ORDER BY kind`,
    [range.first.toString(), range.last.toString()],
  );
  for (const { kind, count, first } of rows) {
    report.alarms.set(kind, { count: Number(count), first: first.map(BigInt) });
  }
}

async function readDeadLetters(client: Client, report: QualityReport, range: TickRange): Promise<void> {
  const place = 'coalesce(after_tick + 1::numeric, tick_number)';
  const { rows } = await client.query<{
    reason: string;
    status: string;
    numbered: boolean;
    count: string;
    first: string[];
  }>(
    `SELECT reason, status, after_tick IS NULL AND tick_number IS NOT NULL AS numbered, count(*) AS count,
       (array_agg(${place}::bigint ORDER BY ${place}))[1:${EXAMPLES}] AS first
       FROM dead_letters WHERE ${place} BETWEEN $1 AND $2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
    [range.first.toString(), range.last.toString()],
  );
  report.deadLetters = rows.map((row) => ({
    ...row,
    count: Number(row.count),
    first: row.first.map(BigInt),
  }));
}

function note<Name>(found: Map<Name, Found>, name: Name, ticks: readonly bigint[]): void {
  const before = found.get(name) ?? { count: 0, first: [] };
  const lowest = ticks.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  found.set(name, {
    count: before.count + ticks.length,
    first: [...before.first, ...lowest].slice(0, EXAMPLES),
  });
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
