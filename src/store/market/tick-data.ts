import type { Client } from 'pg';
import { columnList, copyStatement, TICK_DATA } from '../../core/copy/tables.ts';
import { encodeTickData, type TickDataRow } from '../../core/copy/tick-data.ts';
import { storeVerdict } from '../../core/retry.ts';
import { sendPipelined, BatchError } from '../postgres/pipelined-copy.ts';
import { beginWriting, isPooled } from '../postgres/pooler.ts';
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

/** After a batch with a row that already existed, this many further batches are staged before the direct path is tried again. */
const STAGED_AFTER_REPEAT = 20;

const COLUMNS = columnList(TICK_DATA);
const STAGE_COLUMNS = TICK_DATA.columns.map(({ name, type }) => `${name} ${type}`).join(', ');
const CREATE_STAGE = `CREATE TEMPORARY TABLE IF NOT EXISTS tick_data_stage (${STAGE_COLUMNS})`;
const COPY_STAGE = copyStatement({ ...TICK_DATA, name: 'tick_data_stage' });
const IS_STORED = 'd.provider = s.provider AND d.symbol = s.symbol AND d.ts = s.ts AND d.seq = s.seq';
const CONTENT = ['price', 'size', 'bid', 'ask', 'side'] as const;
/** as keyOf() writes it */
const KEY_TEXT = `s.provider || '|' || s.symbol || '|' || ${microsOf('s.ts')} || '|' || s.seq`;
const DIFFERS = `(${CONTENT.map((name) => `s.${name}`).join(', ')}) IS DISTINCT FROM (${CONTENT.map((name) => `d.${name}`).join(', ')})`;

/**
 * Writes market ticks into tick_data, each once, on one session.
 *
 *   rows ─► of equal keys inside the batch the first
 *        ─► COPY straight into the table, the direct path ──► committed
 *                       │ 23505: some row already exists (a redelivery)
 *                       ▼
 *           COPY into a temporary table, INSERT … ON CONFLICT DO NOTHING, then query which keys have other content
 *
 * The same bytes may be written again at any time: a batch whose answer was lost is simply resent. Bars may have counted
 * what is put aside here, a conflict or a single row that the database refuses: its minute is recorded as contested.
 */
export class TickDataWriter {
  readonly #client: Client;
  #staged = 0;
  #hasStage = false;

  constructor(client: Client) {
    this.#client = client;
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
    const { inserted, differing } = await this.#put(distinct);
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

  async #put(rows: readonly TickDataRow[]): Promise<{ inserted: number; differing: string[] }> {
    if (this.#staged === 0) {
      if (await this.#copy(rows)) return { inserted: rows.length, differing: [] };
      this.#staged = STAGED_AFTER_REPEAT;
    }
    this.#staged -= 1;
    return this.#stage(rows);
  }

  /** False: a key already exists. */
  async #copy(rows: readonly TickDataRow[]): Promise<boolean> {
    const begin = beginWriting(this.#client);
    const plan = {
      statements: [...begin, copyStatement(TICK_DATA), 'COMMIT'],
      firstCopy: begin.length,
      copies: 1,
    };
    try {
      await sendPipelined(this.#client, plan, [encodeTickData(rows)]);
      return true;
    } catch (error) {
      if (error instanceof BatchError) await this.#client.query('ROLLBACK').catch(() => {}); // `error` tells why
      if (error instanceof BatchError && error.code === '23505') return false;
      throw error;
    }
  }

  async #stage(rows: readonly TickDataRow[]): Promise<{ inserted: number; differing: string[] }> {
    // behind a pooler the next transaction may be another session's
    const isPassing = isPooled(this.#client);
    if (!isPassing && !this.#hasStage) {
      await this.#client.query(`${CREATE_STAGE} ON COMMIT DELETE ROWS`);
      this.#hasStage = true;
    }
    const statements = [
      ...beginWriting(this.#client),
      ...(isPassing ? [`${CREATE_STAGE} ON COMMIT DROP`] : []),
      COPY_STAGE,
      // in the order of the key, so that two writers of the same rows do not deadlock
      `WITH inserted AS (
         INSERT INTO tick_data (${COLUMNS}) SELECT ${COLUMNS} FROM tick_data_stage ORDER BY provider, symbol, ts, seq
         ON CONFLICT DO NOTHING RETURNING 1)
       SELECT count(*) FROM inserted`,
      // a separate statement: it sees what another writer committed while the previous one waited for it
      differingStatement(rows),
      'COMMIT',
    ];
    try {
      const firstCopy = statements.indexOf(COPY_STAGE);
      const answers = await sendPipelined(this.#client, { statements, firstCopy, copies: 1 }, [
        encodeTickData(rows),
      ]);
      return {
        inserted: Number(answers.get(firstCopy + 1)?.[0] ?? 0),
        differing: answers.get(firstCopy + 2) ?? [],
      };
    } catch (error) {
      if (error instanceof BatchError) await this.#client.query('ROLLBACK').catch(() => {}); // `error` tells why
      throw error;
    }
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
  return `SELECT ${KEY_TEXT} FROM tick_data_stage s CROSS JOIN LATERAL (
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
