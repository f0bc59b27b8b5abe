import type { Client } from 'pg';
import type { KnownHoles } from '../../core/chain/verify/holes.ts';
import { PAGE_COLUMNS, type PageBytes } from '../../core/chain/tick-page.ts';
import { ByteSink } from '../../core/copy/sink.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { copyOut } from '../postgres/copy-out.ts';
import type { TimedTable } from '../chunks/chunk-map.ts';
import type { TickChunks } from '../chunks/tick-chunks.ts';
import { readChainFloor } from '../retention/chain.ts';

/**
 * Reads stored data for ranges of ticks as binary COPY, on its own session. A page is one snapshot (REPEATABLE READ)
 * that ends with it: a run over the whole chain must not hold back vacuum for hours, and rows of ticks are only ever
 * added. Ticks, proofs and transactions are three plain scans of an index on tick_number, unsorted and unjoined: fresh
 * tables have no statistics, a hypertable of ticks is partitioned by time, and either leads a planner with a choice to
 * a bad plan; of a hypertable the chunks are named by their times. The next page reuses the memory.
 */
export class TickPages {
  readonly #client: Client;
  readonly #chunks: TickChunks;
  readonly #sinks = [new ByteSink(), new ByteSink(), new ByteSink()] as const;

  /** @param chunks where the rows of numbers are */
  constructor(client: Client, chunks: TickChunks) {
    this.#client = client;
    this.#chunks = chunks;
  }

  /** A page reads so many chunks that the locks of some pages at once would be too many for the server. */
  isTooWide(range: TickRange): boolean {
    return this.#chunks.count(range) > PAGE_CHUNKS_MAX;
  }

  /** Peak memory used by pages, bytes. */
  get bytes(): number {
    return this.#sinks.reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Reads a page and leaves its snapshot open, for holes() and nextStored(), until done(). Rejects with
   * CopyTooLargeError above bytesMax; the session is then closed.
   */
  async begin(range: TickRange, bytesMax: number): Promise<PageBytes> {
    await copyOut(this.#client, pageSql(range, this.#chunks), this.#sinks, bytesMax);
    const [ticks, proofs, transactions] = this.#sinks.map(({ bytes, length }) =>
      Buffer.from(bytes.buffer, bytes.byteOffset, length),
    );
    return { ticks, proofs, transactions };
  }

  /** A snapshot without a page. */
  async beginEmpty(): Promise<void> {
    await this.#client.query(`${BEGIN}; ${PLANNING}`);
  }

  async done(): Promise<void> {
    await this.#client.query('COMMIT');
  }

  /** What is recorded of the numbers of a range that are not stored. */
  async holes({ first, last }: TickRange, position: bigint | null): Promise<KnownHoles> {
    const range = [first.toString(), last.toString()];
    const gaps = await this.#client.query<{
      first_tick: string;
      last_tick: string;
      state: 'open' | 'unfillable' | 'skipped';
    }>(GAPS_SQL, range);
    const dead = await this.#client.query<{ tick_number: string }>(DEAD_LETTERS_SQL, range);
    return {
      gaps: gaps.rows.map((row) => ({
        first: BigInt(row.first_tick),
        last: BigInt(row.last_tick),
        state: row.state,
      })),
      deadLetters: dead.rows.map((row) => BigInt(row.tick_number)),
      position,
    };
  }

  /** Of the snapshot: ticks below it were dropped by retention. */
  async floor(): Promise<bigint> {
    return (await readChainFloor(this.#client)) ?? 0n;
  }

  /** The lowest number from `number` on for which anything is stored, null when there is none. */
  async nextStored(number: bigint): Promise<bigint | null> {
    const lowest = [
      '(SELECT min(tick_number) FROM vdf_proofs WHERE tick_number >= $1)',
      this.#chunks.lowestFrom('ticks', number),
      this.#chunks.lowestFrom('tick_transactions', number),
    ];
    const { rows } = await this.#client.query<{ next: string | null }>(
      `SELECT least(${lowest.join(', ')}) AS next`,
      [number.toString()],
    );
    const next = rows[0]?.next ?? null;
    return next === null ? null : BigInt(next);
  }
}

const BEGIN = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';

/** A page is a small share of its tables: forces the index, without JIT or parallel workers. */
const PLANNING =
  'SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0';

/** A chunk costs three or four locks; two threads read four pages at once, and a server has some 6,400 locks. */
const PAGE_CHUNKS_MAX = 80;

/** Column names that SQL reads as a type unless they are quoted. */
const QUOTED = new Set(['timestamp']);

function namesOf(columns: readonly string[]): string {
  return columns.map((name) => (QUOTED.has(name) ? `"${name}"` : name)).join(', ');
}

function pageSql({ first, last }: TickRange, chunks: TickChunks): string {
  const numbers = (from: bigint): string => `tick_number >= ${from} AND tick_number <= ${last}`;
  const timed = (table: TimedTable, columns: readonly string[]): string =>
    chunks.select(table, namesOf(columns), numbers(first), { first, last });
  // with the output that the first one links to
  const proofsFrom = first > 0n ? first - 1n : first;
  const selects = [
    timed('ticks', PAGE_COLUMNS.ticks),
    `SELECT ${namesOf(PAGE_COLUMNS.proofs)} FROM vdf_proofs WHERE ${numbers(proofsFrom)}`,
    timed('tick_transactions', PAGE_COLUMNS.transactions),
  ];
  return [BEGIN, PLANNING, ...selects.map((sql) => `COPY (${sql}) TO STDOUT (FORMAT binary)`)].join(';\n');
}

const GAPS_SQL = `
SELECT first_tick, last_tick, state FROM ingest_gaps
 WHERE state <> 'filled' AND last_tick >= $1 AND first_tick <= $2 ORDER BY first_tick`;

/** The same expression as in the unique index: a separate index would cost every dead letter something. */
const DEAD_LETTERS_SQL = `
SELECT DISTINCT tick_number FROM dead_letters
 WHERE status = 'open' AND tick_number IS NOT NULL AND after_tick IS NULL
   AND coalesce(tick_number, -1) BETWEEN $1::numeric AND $2::numeric ORDER BY tick_number`;
