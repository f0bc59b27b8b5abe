import { formatMicros, type Micros } from '../../core/time.ts';
import type { RunOnSession } from '../postgres/session.ts';
import { isoTime, microsOf } from '../postgres/time-sql.ts';
import { currentSnapshot, type SnapshotText } from './ticks.ts';

/** A table of rows with their transaction (column tx), whose key is a time and three names. */
export interface LiveRowTable {
  name: string;
  /** the names with which its key begins, before the time */
  series: readonly string[];
  /** the three names of its key */
  names: readonly [string, string, string];
  /** of the rows that are live */
  condition: string;
  /** member of the item: SQL */
  item: Readonly<Record<string, string>>;
}

/** Order of history and ids: by time, then the names. */
export interface RowKey {
  /** µs since 1970 */
  ts: Micros;
  names: readonly [string, string, string];
}

export interface LiveRow extends RowKey {
  /** that wrote it */
  tx: bigint;
  item: Readonly<Record<string, unknown>>;
}

export interface RowFilter {
  symbols: readonly string[] | null;
  provider: string | null;
}

export const LIVE_BARS: LiveRowTable = {
  name: 'bars_ohlcv',
  series: ['provider', 'symbol', '"interval"'],
  names: ['provider', 'symbol', '"interval"'],
  condition: 'true',
  item: {
    provider: 'd.provider',
    symbol: 'd.symbol',
    interval: 'd."interval"',
    ts: isoTime('d.ts'),
    open: 'd.open',
    high: 'd.high',
    low: 'd.low',
    close: 'd.close',
    volume: 'd.volume',
    vwap: 'd.vwap',
    tick_count: 'd.tick_count',
    first_ts: isoTime('d.first_ts'),
    last_ts: isoTime('d.last_ts'),
    is_final: 'd.is_final',
    revision: 'd.revision',
    updated_at: isoTime('d.updated_at'),
  },
};

export const LIVE_SIGNALS: LiveRowTable = {
  name: 'signals',
  series: ['provider', 'symbol'],
  names: ['provider', 'symbol', 'name'],
  condition: 'd.replay_run_id = 0',
  item: {
    provider: 'd.provider',
    symbol: 'd.symbol',
    ts: isoTime('d.ts'),
    name: 'd.name',
    value: 'd.value',
    score: 'd.score',
    metadata: 'd.metadata',
    replay_run_id: 'd.replay_run_id',
    created_at: isoTime('d.created_at'),
  },
};

interface Found {
  us: string;
  tx: string;
  a: string;
  b: string;
  c: string;
  item: string;
}

/** Bars and signals as the live path asks them: what a snapshot shows of the past, and what changed between two snapshots. */
export class LiveRows {
  readonly #hub: RunOnSession;
  readonly #reader: RunOnSession;
  readonly #table: LiveRowTable;

  constructor(table: LiveRowTable, hub: RunOnSession, reader: RunOnSession) {
    this.#table = table;
    this.#hub = hub;
    this.#reader = reader;
  }

  snapshot(): Promise<SnapshotText> {
    return currentSnapshot(this.#hub);
  }

  /** Of each series its names; found along the key, however many rows there are. */
  series({ symbols, provider }: RowFilter): Promise<string[][]> {
    const { name, series } = this.#table;
    return this.#reader(async (client) => {
      const { rows } = await client.query<{ names: string[] }>(
        `SELECT array[${series.map((_, level) => `n${level}`).join(', ')}]::text[] AS names FROM (${seriesSql(name, series)}) s
          WHERE ($1::text[] IS NULL OR n1 = ANY ($1)) AND ($2::text IS NULL OR n0 = $2)`,
        [symbols, provider],
      );
      return rows.map(({ names }) => names);
    });
  }

  /** Time of the first row of these series at or behind `from`; null: none. */
  firstAt(series: readonly string[][], from: Micros): Promise<Micros | null> {
    return this.#reader(async (client) => {
      const { rows } = await client.query<{ us: string | null }>(
        `SELECT ${microsOf('min(t.ts)')} AS us FROM ${this.#unnested()} CROSS JOIN LATERAL (
           SELECT d.ts FROM ${this.#table.name} d WHERE ${this.#ofSeries()} AND d.ts >= ${literal(from)} ORDER BY d.ts LIMIT 1) t`,
        this.#seriesValues(series),
      );
      const { us } = rows[0];
      return us === null ? null : BigInt(us);
    });
  }

  /** Rows of these series with times in [from, to), behind a key, that the snapshot shows, in the order of the key. */
  slice(
    series: readonly string[][],
    {
      from,
      to,
      after,
      snapshot,
      limit,
    }: { from: Micros; to: Micros; after: RowKey | null; snapshot: SnapshotText; limit: number },
  ): Promise<LiveRow[]> {
    const { name, condition, names, series: first } = this.#table;
    const order = ['ts', ...names.filter((each) => !first.includes(each))]
      .map((each) => `d.${each}`)
      .join(', ');
    const values = this.#seriesValues(series);
    const next = values.length + 1;
    const conditions = [
      this.#ofSeries(),
      condition,
      `d.ts >= ${literal(from)} AND d.ts < ${literal(to)}`,
      `pg_visible_in_snapshot(d.tx, $${next}::pg_snapshot)`,
    ];
    if (after !== null)
      conditions.push(
        `(d.ts, ${names.map((each) => `d.${each}`).join(', ')}) > (${literal(after.ts)}, $${next + 2}::text, $${next + 3}::text, $${next + 4}::text)`,
      );
    return this.#reader(async (client) => {
      const { rows } = await client.query<Found>(
        `SELECT t.* FROM ${this.#unnested()} CROSS JOIN LATERAL (
           SELECT ${this.#columns()} FROM ${name} d WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT $${next + 1}) t
          ORDER BY us, a COLLATE "C", b COLLATE "C", c COLLATE "C" LIMIT $${next + 1}`,
        [...values, snapshot, limit, ...(after === null ? [] : after.names)],
      );
      return rows.map(rowOf);
    });
  }

  /** Rows that `to` shows and `from` does not, as they are now, behind one of them, in the order of (transaction, key). */
  changes(
    { from, to }: { from: SnapshotText; to: SnapshotText },
    after: (RowKey & { tx: bigint }) | null,
    limit: number,
    who: 'hub' | 'client',
  ): Promise<LiveRow[]> {
    const { name, condition, names } = this.#table;
    const run = who === 'hub' ? this.#hub : this.#reader;
    const key = names.map((each) => `d.${each}`).join(', ');
    const [lowest] = from.split(':');
    const least = after === null ? lowest : after.tx.toString();
    return run(async (client) => {
      const { rows } = await client.query<Found>(
        `SELECT ${this.#columns()} FROM ${name} d
          WHERE d.tx >= $1::text::xid8 AND ${condition} AND pg_visible_in_snapshot(d.tx, $3::pg_snapshot)
            AND NOT pg_visible_in_snapshot(d.tx, $2::pg_snapshot)
            ${after === null ? '' : `AND (d.tx, d.ts, ${key}) > ($1::text::xid8, ${literal(after.ts)}, $5::text, $6::text, $7::text)`}
          ORDER BY d.tx, d.ts, ${key} LIMIT $4`,
        [least, from, to, limit, ...(after === null ? [] : after.names)],
      );
      return rows.map(rowOf);
    });
  }

  #columns(): string {
    const { item, names } = this.#table;
    const members = Object.entries(item).map(([member, sql]) => `'${member}', ${sql}`);
    const [a, b, c] = names;
    return `${microsOf('d.ts')} AS us, d.tx::text AS tx, d.${a} AS a, d.${b} AS b, d.${c} AS c,
      json_build_object(${members.join(', ')})::text AS item`;
  }

  #unnested(): string {
    const { series } = this.#table;
    return `unnest(${series.map((_, at) => `$${at + 1}::text[]`).join(', ')}) AS k (${series.map((_, at) => `n${at}`).join(', ')})`;
  }

  #ofSeries(): string {
    return this.#table.series.map((name, at) => `d.${name} = k.n${at}`).join(' AND ');
  }

  #seriesValues(series: readonly string[][]): string[][] {
    return this.#table.series.map((_, at) => series.map((names) => names[at]));
  }
}

/** Each next name along the key, below the names before it. */
function seriesSql(table: string, series: readonly string[]): string {
  const levels = series.map((name, level) => {
    const before = series.slice(0, level).map((each, at) => `t.${each} = s${at}.n${at}`);
    const where = (more: readonly string[]): string => {
      const all = [...before, ...more];
      return all.length === 0 ? '' : `WHERE ${all.join(' AND ')}`;
    };
    return `(WITH RECURSIVE w AS (
      (SELECT t.${name} AS n FROM ${table} t ${where([])} ORDER BY t.${name} LIMIT 1)
      UNION ALL
      SELECT (SELECT t.${name} FROM ${table} t ${where([`t.${name} > w.n`])} ORDER BY t.${name} LIMIT 1) FROM w WHERE w.n IS NOT NULL)
    SELECT n AS n${level} FROM w WHERE n IS NOT NULL) s${level}`;
  });
  return `SELECT ${series.map((_, level) => `s${level}.n${level}`).join(', ')} FROM ${levels.join(' CROSS JOIN LATERAL ')}`;
}

/** A constant: the planner sees which chunks are meant. */
function literal(us: Micros): string {
  return `timestamptz '${formatMicros(us < 0n ? 0n : us)}'`;
}

function rowOf({ us, tx, a, b, c, item }: Found): LiveRow {
  return {
    ts: BigInt(us),
    tx: BigInt(tx),
    names: [a, b, c],
    item: JSON.parse(item) as Record<string, unknown>,
  };
}
