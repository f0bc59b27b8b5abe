import type { Client } from 'pg';
import type { KnownHoles } from '../../core/chain/verify/holes.ts';
import { PAGE_COLUMNS, type PageBytes } from '../../core/chain/tick-page.ts';
import { ByteSink } from '../../core/copy/sink.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import { copyOut } from '../postgres/copy-out.ts';
import { readChainFloor } from '../retention/chain.ts';

/**
 * Reads stored data for ranges of ticks as binary COPY, on its own session. A page is one snapshot (REPEATABLE READ)
 * that ends with it: a run over the whole chain must not hold back vacuum for hours, and rows of ticks are only ever
 * added. Ticks, proofs and transactions are three plain scans of an index on tick_number, unsorted and unjoined: fresh
 * tables have no statistics, a hypertable of ticks is partitioned by time, and either leads a planner with a choice to
 * a bad plan. The next page reuses the memory.
 */
export class TickPages {
  readonly #client: Client;
  readonly #sinks = [new ByteSink(), new ByteSink(), new ByteSink()] as const;

  constructor(client: Client) {
    this.#client = client;
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
    await copyOut(this.#client, pageSql(range), this.#sinks, bytesMax);
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
    const { rows } = await this.#client.query<{ next: string | null }>(NEXT_SQL, [number.toString()]);
    const next = rows[0]?.next ?? null;
    return next === null ? null : BigInt(next);
  }
}

const BEGIN = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';

/** A page is a small share of its tables: forces the index, without JIT or parallel workers. */
const PLANNING =
  'SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0';

/** Column names that SQL reads as a type unless they are quoted. */
const QUOTED = new Set(['timestamp']);

function pageSql({ first, last }: TickRange): string {
  const copy = (table: string, columns: readonly string[], from: bigint): string => {
    const names = columns.map((name) => (QUOTED.has(name) ? `"${name}"` : name)).join(', ');
    return `COPY (SELECT ${names} FROM ${table} WHERE tick_number >= ${from} AND tick_number <= ${last}) TO STDOUT (FORMAT binary)`;
  };
  return [
    BEGIN,
    PLANNING,
    copy('ticks', PAGE_COLUMNS.ticks, first),
    // with the output that the first one links to
    copy('vdf_proofs', PAGE_COLUMNS.proofs, first > 0n ? first - 1n : first),
    copy('tick_transactions', PAGE_COLUMNS.transactions, first),
  ].join(';\n');
}

const GAPS_SQL = `
SELECT first_tick, last_tick, state FROM ingest_gaps
 WHERE state <> 'filled' AND last_tick >= $1 AND first_tick <= $2 ORDER BY first_tick`;

/** The same expression as in the unique index: a separate index would cost every dead letter something. */
const DEAD_LETTERS_SQL = `
SELECT DISTINCT tick_number FROM dead_letters
 WHERE status = 'open' AND tick_number IS NOT NULL AND after_tick IS NULL
   AND coalesce(tick_number, -1) BETWEEN $1::numeric AND $2::numeric ORDER BY tick_number`;

const NEXT_SQL = `
SELECT least((SELECT min(tick_number) FROM vdf_proofs WHERE tick_number >= $1),
             (SELECT min(tick_number) FROM ticks WHERE tick_number >= $1),
             (SELECT min(tick_number) FROM tick_transactions WHERE tick_number >= $1)) AS next`;
