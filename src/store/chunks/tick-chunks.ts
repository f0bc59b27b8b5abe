import type { Client } from 'pg';
import { meets, type ChunkMap, type ChunkNumbers, type TimeSpan } from '../../core/chain/chunk-map.ts';
import type { TickRange } from '../../core/ingest/ranges.ts';
import type { Micros } from '../../core/time.ts';
import { readChunkMap, selectWithin, withinSpan, type Around, type TimedTable } from './chunk-map.ts';

const TABLES: readonly TimedTable[] = ['ticks', 'tick_transactions'];

/**
 * Where in ticks and tick_transactions the rows of tick numbers are. On a hypertable a query by number alone locks and plans
 * every chunk: with some thousand of them it takes longer than what it reads, or ends with 53200.
 */
export class TickChunks {
  readonly #maps: Record<TimedTable, ChunkMap | null>;

  /** @param maps null: a plain table */
  constructor(maps: Record<TimedTable, ChunkMap | null>) {
    this.#maps = maps;
  }

  /** Asks every chunk, some ms each. What is stored later in other chunks lies between their neighbours. */
  static async read(client: Client, around?: Around): Promise<TickChunks> {
    const [ticks, transactions] = [
      await readChunkMap(client, 'ticks', around),
      await readChunkMap(client, 'tick_transactions', around),
    ];
    return new TickChunks({ ticks, tick_transactions: transactions });
  }

  /** How many chunks a query for these numbers reads, of both tables. */
  count(range: TickRange): number {
    return TABLES.reduce((sum, table) => {
      const map = this.#maps[table];
      return sum + (map === null ? 0 : map.countIn(map.spans(range)));
    }, 0);
  }

  /** The last number such that no more than `chunksMax` chunks are read for the range, at least its first one. */
  lastWithin({ first, last }: TickRange, chunksMax: number): bigint {
    let [low, high] = [first, last];
    if (this.count({ first, last }) <= chunksMax) return last;
    while (low < high) {
      const middle = low + (high - low + 1n) / 2n;
      if (this.count({ first, last: middle }) <= chunksMax) low = middle;
      else high = middle - 1n;
    }
    return low;
  }

  /** SQL of the lowest number from `number` on, null where there is none. */
  lowestFrom(table: TimedTable, number: bigint): string {
    return this.#endSql(table, 'min', `tick_number >= ${number}`, (chunk) =>
      chunk.first >= number ? 'whole' : chunk.last >= number ? 'part' : 'none',
    );
  }

  /** SQL of the highest number below `number`. */
  highestBelow(table: TimedTable, number: bigint): string {
    return this.#endSql(table, 'max', `tick_number < ${number}`, (chunk) =>
      chunk.last < number ? 'whole' : chunk.first < number ? 'part' : 'none',
    );
  }

  /** Of chunks that lie wholly on the side that is asked for the map knows the answer; only the others are read. */
  #endSql(
    table: TimedTable,
    end: 'min' | 'max',
    condition: string,
    judge: (chunk: ChunkNumbers) => 'whole' | 'part' | 'none',
  ): string {
    const map = this.#maps[table];
    if (map === null) return `(SELECT ${end}(tick_number) FROM ${table} WHERE ${condition})`;
    const known = map.chunks
      .filter((chunk) => judge(chunk) === 'whole')
      .map(({ first, last }) => (end === 'min' ? first : last));
    const values = extreme(known, end);
    const parts = map.chunks
      .filter((chunk) => judge(chunk) === 'part')
      .map(
        (span) =>
          `(SELECT ${end}(tick_number) FROM ${table} WHERE ${condition} AND ${withinSpan(table, span)})`,
      );
    return `${end === 'min' ? 'least' : 'greatest'}(${[...values.map((n) => `${n}::bigint`), ...parts, 'NULL::bigint'].join(', ')})`;
  }

  /** A SELECT of rows that meet a condition on numbers of the range. */
  select(table: TimedTable, columns: string, condition: string, range: TickRange): string {
    return selectWithin(table, columns, condition, this.#maps[table]?.spans(range) ?? null);
  }

  /** A span of time with the ticks next to a time: some before it, and some from it on, where there are any. */
  around(at: Micros): TimeSpan {
    const chunks = this.#maps.ticks?.chunks ?? [];
    return {
      from: chunks.findLast(({ to }) => to <= at)?.from ?? null,
      to: chunks.find(({ from }) => from >= at)?.to ?? null,
    };
  }

  /** SQL of the lowest and the highest number of ticks with times in a span, each null where there is none. */
  numbersIn(span: TimeSpan): { first: string; last: string } {
    const chunks = this.#maps.ticks?.chunks ?? null;
    if (chunks === null) return { first: endOf('min', span), last: endOf('max', span) };
    const inside = chunks.filter((chunk) => isInside(chunk, span));
    const parts = chunks
      .filter((chunk) => meets(chunk, span) && !isInside(chunk, span))
      .map((chunk) => common(chunk, span));
    const sqlOf = (end: 'min' | 'max', known: readonly bigint[]): string =>
      `${end === 'min' ? 'least' : 'greatest'}(${[...known.map((n) => `${n}::bigint`), ...parts.map((part) => endOf(end, part)), 'NULL::bigint'].join(', ')})`;
    return {
      first: sqlOf(
        'min',
        extreme(
          inside.map(({ first }) => first),
          'min',
        ),
      ),
      last: sqlOf(
        'max',
        extreme(
          inside.map(({ last }) => last),
          'max',
        ),
      ),
    };
  }
}

/** Tables without chunks, or with so few that they need no bounds. */
export const PLAIN_CHUNKS = new TickChunks({ ticks: null, tick_transactions: null });

/** + 0: forces the index on times, instead of a walk along all numbers until a time fits. */
function endOf(end: 'min' | 'max', span: TimeSpan): string {
  return `(SELECT ${end}(tick_number + 0) FROM ticks WHERE ${withinSpan('ticks', span)})`;
}

/** One value, or none of none. */
function extreme(values: readonly bigint[], end: 'min' | 'max'): bigint[] {
  return values.length === 0 ? [] : [values.reduce((a, b) => (a < b === (end === 'min') ? a : b))];
}

function isInside(chunk: ChunkNumbers, { from, to }: TimeSpan): boolean {
  return (from === null || chunk.from >= from) && (to === null || chunk.to <= to);
}

function common(chunk: ChunkNumbers, { from, to }: TimeSpan): TimeSpan {
  return {
    from: from === null || chunk.from > from ? chunk.from : from,
    to: to === null || chunk.to < to ? chunk.to : to,
  };
}
