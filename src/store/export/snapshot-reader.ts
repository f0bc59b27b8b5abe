import type { Client } from 'pg';
import type { ExportRequest, Visibility } from '../../core/export/request.ts';
import type { Batch } from '../../core/table/batch.ts';
import type { Micros } from '../../core/time.ts';
import { connect, parseDatabaseUrl } from '../postgres/connect.ts';
import { serverError } from '../postgres/last-words.ts';
import { destroy } from '../postgres/session.ts';
import { microsOf } from '../postgres/time-sql.ts';
import { readBatches, textLiteral } from '../queries/query.ts';
import { edgeQuery, sliceQuery, symbolsQuery, type Slice } from './rows.ts';

/** The state of the database that an export reads. */
export interface SnapshotInfo {
  /** pg_snapshot: what is visible */
  snapshot: string;
  /** the cluster's */
  systemIdentifier: string;
  /** the transaction's time by the server's clock, µs since 1970 */
  now: Micros;
  /** On a standby a snapshot does not name the transactions in progress: only what was written before all of them counts. */
  isStandby: boolean;
}

/** So many symbols of a provider that are not named are exported at once. */
const SYMBOLS_MAX = 100_000;

/** Reads everything of an export in one transaction, read only, that sees one state of the database. */
export class SnapshotReader {
  readonly #client: Client;
  readonly info: SnapshotInfo;
  #isReading = false;

  private constructor(client: Client, info: SnapshotInfo) {
    this.#client = client;
    this.info = info;
  }

  /** Rejects with ConnectError or the server's error. */
  static async open(databaseUrl: string, applicationName: string): Promise<SnapshotReader> {
    const client = await connect(parseDatabaseUrl(databaseUrl), { applicationName });
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      // parallel workers sort on the disk what indexes give in order
      await client.query('SET LOCAL max_parallel_workers_per_gather = 0');
      const { rows } = await client.query<Row>(
        `SELECT pg_current_snapshot()::text AS snapshot, pg_is_in_recovery() AS is_standby, ${microsOf('now()')} AS now,
                (SELECT system_identifier FROM pg_control_system())::text AS system_identifier`,
      );
      const { snapshot, is_standby: isStandby, now, system_identifier: systemIdentifier } = rows[0];
      const xmin = snapshot.slice(0, snapshot.indexOf(':'));
      const info = { systemIdentifier, now: BigInt(now), isStandby };
      return new SnapshotReader(client, { ...info, snapshot: isStandby ? `${xmin}:${xmin}:` : snapshot });
    } catch (error) {
      destroy(client);
      throw error;
    }
  }

  /** Whether the server has not come as far as this snapshot: it is of another history. */
  async isAhead(snapshot: string): Promise<boolean> {
    const { rows } = await this.#client.query<{ ahead: boolean }>(
      'SELECT pg_snapshot_xmax($1::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS ahead',
      [snapshot],
    );
    return rows[0].ahead;
  }

  /** Whether a transaction that began by then may still write: what is as of that time is not settled. */
  async isOpenSince(time: Micros): Promise<boolean> {
    const { rows } = await this.#client.query<{ open: boolean }>(
      `SELECT ${time} >= ${microsOf('now()')} OR EXISTS (SELECT FROM pg_stat_activity
          WHERE backend_xid IS NOT NULL AND datname = current_database() AND ${microsOf('xact_start')} <= ${time}) AS open`,
    );
    return rows[0].open;
  }

  /** The symbols that the provider has rows of, in order; at any time. */
  async symbols(request: ExportRequest): Promise<string[]> {
    const { rows } = await this.#client.query<{ symbol: string }>(symbolsQuery(request, SYMBOLS_MAX + 1));
    if (rows.length > SYMBOLS_MAX)
      throw new RangeError(`there are more than ${SYMBOLS_MAX} symbols: name those that are meant`);
    return rows.map(({ symbol }) => symbol);
  }

  /** Those of some symbols that have nothing in the tables of the request, at any time, and no ticks. */
  async unknownSymbols({ dataset, provider, symbols, run }: ExportRequest): Promise<string[]> {
    if (symbols === null || symbols.length === 0 || dataset === 'chain') return [];
    const tables = [
      'tick_data',
      ...(dataset === 'bars' ? ['bars_ohlcv'] : dataset === 'signals' ? ['signals'] : []),
    ];
    const found = tables.map(
      (table) =>
        `EXISTS (SELECT FROM ${table} t WHERE t.provider = ${textLiteral(provider ?? '')} AND t.symbol = s.symbol)`,
    );
    if (dataset === 'bars' && typeof run === 'bigint')
      found.push(
        `EXISTS (SELECT FROM bars_replay t WHERE t.replay_run_id = ${run} AND t.provider = ${textLiteral(provider ?? '')} AND t.symbol = s.symbol)`,
      );
    const { rows } = await this.#client.query<{ symbol: string }>(
      `SELECT s.symbol FROM unnest($1::text[]) s (symbol) WHERE NOT (${found.join(' OR ')}) ORDER BY 1`,
      [symbols],
    );
    return rows.map(({ symbol }) => symbol);
  }

  /** The first or last time of a row within a slice; null: there is none. Rows that are not visible count. */
  async time(request: ExportRequest, slice: Slice, which: 'first' | 'last'): Promise<Micros | null> {
    const { rows } = await this.#client.query<{ t: string | null }>(
      `SELECT ${microsOf('t')} AS t FROM (${edgeQuery(request, slice, which)}) n`,
    );
    const found = rows[0]?.t ?? null;
    return found === null ? null : BigInt(found);
  }

  /** The rows of a slice in order; the server waits while nobody takes them. */
  async *rows(
    request: ExportRequest,
    visibility: Visibility,
    slice: Slice,
  ): AsyncGenerator<Batch, void, undefined> {
    this.#isReading = true;
    try {
      yield* readBatches(this.#client, sliceQuery(request, visibility, slice));
    } catch (error) {
      throw serverError(this.#client, error);
    }
    this.#isReading = false;
  }

  /** Ends what is under way: it rejects. */
  abort(): void {
    this.#isReading = true;
    destroy(this.#client);
  }

  /** Idempotent. A statement that still runs is given up with its connection. */
  async close(): Promise<void> {
    if (this.#isReading) destroy(this.#client);
    else await this.#client.end().catch(() => {}); // everything is read
  }
}

interface Row {
  snapshot: string;
  is_standby: boolean;
  now: string;
  system_identifier: string;
}
