import type { TickRange } from '../../core/ingest/ranges.ts';
import type { Micros } from '../../core/time.ts';
import type { Batch } from '../../core/table/batch.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { timeLiteral } from '../queries/query.ts';
import { readChainTicks } from '../queries/chain.ts';

/** What is recorded of the chain. */
export interface ChainExtent {
  /** null: no tick was ever received */
  origin: bigint | null;
  /** up to here every number is stored, or its absence is */
  position: bigint | null;
}

export interface ChainPage {
  /** columns of CHAIN_TICK_COLUMNS, in the order of the numbers */
  batch: Batch;
  hasMore: boolean;
}

/** numbers that are not stored and may come, at most so many ranges */
const RANGES_MAX = 1_000;

/** The chain as the live path asks it. Rejects as Session.run does. */
export class LiveChain {
  readonly #hub: RunOnSession;
  readonly #reader: RunOnSession;

  constructor(hub: RunOnSession, reader: RunOnSession) {
    this.#hub = hub;
    this.#reader = reader;
  }

  extent(): Promise<ChainExtent> {
    return this.#hub(async (client) => {
      const { rows } = await client.query<{ origin: string | null; position: string | null }>(
        'SELECT origin, "position" FROM ingest_position()',
      );
      const { origin, position } = rows[0];
      return {
        origin: origin === null ? null : BigInt(origin),
        position: position === null ? null : BigInt(position),
      };
    });
  }

  /** Numbers that are recorded as missing and may still come: gaps that are not filled, and open dead letters; the newest ones. */
  missing(): Promise<TickRange[]> {
    return this.#hub(async (client) => {
      const { rows } = await client.query<{ first: string; last: string }>(
        `SELECT first_tick AS first, last_tick AS last FROM ingest_gaps WHERE state <> 'filled'
         UNION ALL
         SELECT tick_number::bigint, tick_number::bigint FROM dead_letters
          WHERE status = 'open' AND after_tick IS NULL AND tick_number BETWEEN 0 AND 9223372036854775807
         ORDER BY 1 DESC LIMIT ${RANGES_MAX}`,
      );
      return rows.map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) }));
    });
  }

  /** Number of the first tick at or after a time; null: there is none. */
  firstAt(from: Micros): Promise<bigint | null> {
    return this.#reader(async (client) => {
      const { rows } = await client.query<{ number: string }>(
        `SELECT tick_number AS number FROM ticks WHERE "timestamp" >= ${timeLiteral(from)} ORDER BY "timestamp", tick_number LIMIT 1`,
      );
      return rows.length === 0 ? null : BigInt(rows[0].number);
    });
  }

  /** Those of a range that are stored, without their transactions. */
  page({ first, last }: TickRange, rowsMax: number, who: 'hub' | 'client'): Promise<ChainPage> {
    const run = who === 'hub' ? this.#hub : this.#reader;
    return run((client) => readChainTicks(client, first, last + 1n, rowsMax));
  }

  /** Numbers within these ranges that are stored, in order, at most `limit`. */
  stored(ranges: readonly TickRange[], limit: number, who: 'hub' | 'client'): Promise<bigint[]> {
    if (ranges.length === 0) return Promise.resolve([]);
    const run = who === 'hub' ? this.#hub : this.#reader;
    return run(async (client) => {
      const { rows } = await client.query<{ number: string }>(
        `SELECT v.tick_number AS number FROM unnest($1::bigint[], $2::bigint[]) AS r (first_tick, last_tick)
          CROSS JOIN LATERAL (
            SELECT tick_number FROM vdf_proofs WHERE tick_number BETWEEN r.first_tick AND r.last_tick
             ORDER BY tick_number LIMIT $3) v
          ORDER BY 1 LIMIT $3`,
        [ranges.map(({ first }) => first.toString()), ranges.map(({ last }) => last.toString()), limit],
      );
      return rows.map(({ number }) => BigInt(number));
    });
  }
}
