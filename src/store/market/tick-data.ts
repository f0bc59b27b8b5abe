import type { Client } from 'pg';
import { TICK_DATA } from '../../core/copy/tables.ts';
import { encodeTickData, type TickDataRow } from '../../core/copy/tick-data.ts';
import { storeVerdict } from '../../core/retry.ts';
import { OnceWriter, stageOf } from '../postgres/once-writer.ts';
import { BatchError } from '../postgres/pipelined-copy.ts';
import { forgetOldContested, recordContested } from './contested.ts';
import { betweenTimes, microsOf } from '../postgres/time-sql.ts';

/** The outcome of a batch: every row is either stored, known or conflicting. */
export interface TickDataResult {
  /** new rows */
  stored: number;
  /** rows whose key already existed with the same content */
  known: number;
  /** indices of rows whose key exists with other content: the stored one stays */
  conflicts: number[];
}

const KEY = ['provider', 'symbol', 'ts', 'seq'];
const IS_STORED = 'd.provider = s.provider AND d.symbol = s.symbol AND d.ts = s.ts AND d.seq = s.seq';
const CONTENT = ['price', 'size', 'bid', 'ask', 'side'] as const;
/** as keyOf() writes it */
const KEY_TEXT = `s.provider || '|' || s.symbol || '|' || ${microsOf('s.ts')} || '|' || s.seq`;
const DIFFERS = `(${CONTENT.map((name) => `s.${name}`).join(', ')}) IS DISTINCT FROM (${CONTENT.map((name) => `d.${name}`).join(', ')})`;

/**
 * Writes market ticks into tick_data, each once (OnceWriter); of equal keys inside a batch the first one goes there.
 *
 * The same bytes may be written again at any time: a batch whose answer was lost is simply resent. Bars may have counted
 * what is put aside here, a conflict or a single row that the database refuses: its minute is recorded as contested.
 */
export class TickDataWriter {
  readonly #client: Client;
  readonly #writer: OnceWriter<TickDataRow>;

  constructor(client: Client) {
    this.#client = client;
    this.#writer = new OnceWriter(client, { table: TICK_DATA, key: KEY, encode: encodeTickData });
  }

  /** Rejects with the server's error (BatchError or a connection's); nothing of the batch is stored then, or that is unknown. */
  async write(rows: readonly TickDataRow[]): Promise<TickDataResult> {
    if (rows.length === 0) return { stored: 0, known: 0, conflicts: [] };
    try {
      const result = await this.#write(rows);
      await this.#contest(
        result.conflicts.map((index) => rows[index]),
        false,
      );
      return result;
    } catch (error) {
      if (rows.length === 1 && error instanceof BatchError && storeVerdict(error.code) === 'data')
        await this.#contest(rows, true);
      throw error;
    }
  }

  async #contest(rows: readonly TickDataRow[], isMissing: boolean): Promise<void> {
    if (rows.length === 0) return;
    await recordContested(
      this.#client,
      rows.map(({ provider, symbol, srcTs }) => ({ provider, symbol, srcTs, isMissing })),
    );
    await forgetOldContested(this.#client);
  }

  async #write(rows: readonly TickDataRow[]): Promise<TickDataResult> {
    const { indices, doubles } = settle(rows);
    const distinct = indices.length === rows.length ? rows : indices.map((index) => rows[index]);
    const { inserted, differing } = await this.#writer.write(distinct, {
      differing: differingStatement(distinct),
    });
    const keys = new Set(differing);
    const result = { stored: inserted, known: rows.length - inserted, conflicts: [] as number[] };
    if (keys.size > 0) result.conflicts = indices.filter((index) => keys.has(keyOf(rows[index])));
    // of a key whose first row is not the stored one, another content may be
    const undecided: number[] = [];
    for (const { index, isSame } of doubles) {
      const isFirstRefused = keys.has(keyOf(rows[index]));
      if (isSame === isFirstRefused) result.conflicts.push(index);
      else if (isFirstRefused) undecided.push(index);
    }
    if (undecided.length > 0) {
      const { conflicts } = await this.#write(undecided.map((index) => rows[index]));
      result.conflicts.push(...conflicts.map((at) => undecided[at]));
    }
    result.conflicts.sort((one, other) => one - other);
    result.known -= result.conflicts.length;
    return result;
  }
}

/**
 * The keys that the table has with another content. One lookup for each row (OFFSET 0 keeps it apart), between constant
 * times: a join may read all of the table, and of a compressed one it does.
 */
function differingStatement(rows: readonly TickDataRow[]): string {
  let [from, to] = [rows[0].srcTs, rows[0].srcTs];
  for (const { srcTs } of rows) {
    if (srcTs < from) from = srcTs;
    if (srcTs > to) to = srcTs;
  }
  return `SELECT ${KEY_TEXT} FROM ${stageOf(TICK_DATA)} s CROSS JOIN LATERAL (
      SELECT ${CONTENT.join(', ')} FROM tick_data d WHERE ${IS_STORED} AND ${betweenTimes('d.ts', from, to)} OFFSET 0) d
     WHERE ${DIFFERS}`;
}

/** A row whose key an earlier row of its batch has. */
interface Double {
  index: number;
  /** with the same content */
  isSame: boolean;
}

/** The first row of each key, and the others. */
function settle(rows: readonly TickDataRow[]): { indices: number[]; doubles: Double[] } {
  const seen = new Map<string, TickDataRow>();
  const indices: number[] = [];
  const doubles: Double[] = [];
  rows.forEach((row, index) => {
    const key = keyOf(row);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, row);
      indices.push(index);
    } else doubles.push({ index, isSame: CONTENT.every((name) => first[name] === row[name]) });
  });
  return { indices, doubles };
}

function keyOf(row: TickDataRow): string {
  return `${row.provider}|${row.symbol}|${row.srcTs}|${row.seq}`;
}
