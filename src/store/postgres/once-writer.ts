import type { Client } from 'pg';
import { columnList, copyStatement, type CopyTable } from '../../core/copy/tables.ts';
import { BatchError, sendPipelined } from './pipelined-copy.ts';
import { beginWriting, isPooled } from './pooler.ts';

/** A table whose rows are written once each. */
export interface OnceTable<Row> {
  table: CopyTable;
  /** columns of its primary key */
  key: readonly string[];
  encode: (rows: readonly Row[]) => Uint8Array;
}

/** What is special about one batch. */
export interface OnceBatch {
  /** right behind BEGIN, in its transaction */
  begun?: readonly string[];
  /** some may be there: they are staged at once */
  areKnown?: boolean;
  /** of the rows in the stage (alias s) those that the table has otherwise: a query with one column of text */
  differing: string;
}

export interface OnceResult {
  /** new rows; the others were there */
  inserted: number;
  /** what the query of that name said */
  differing: string[];
}

/** After a batch with a row that was there, so many further ones are staged before the direct path is tried again. */
const STAGED_AFTER_REPEAT = 20;

/**
 * Writes rows into a table, each once, on one session; what is stored stays.
 *
 *   rows ─► COPY straight into the table, the direct path ──► committed
 *                       │ 23505: some row is there already (a repetition)
 *                       ▼
 *           COPY into a temporary table, INSERT … ON CONFLICT DO NOTHING, then the query which rows differ
 *
 * The same rows may be written again at any time: a batch whose answer was lost is simply resent.
 */
export class OnceWriter<Row> {
  readonly #client: Client;
  readonly #once: OnceTable<Row>;
  readonly #createStage: string;
  readonly #copyStage: string;
  readonly #insert: string;
  #staged = 0;
  #hasStage = false;

  constructor(client: Client, once: OnceTable<Row>) {
    const { table } = once;
    const key = once.key.join(', ');
    const columns = columnList(table);
    const typed = table.columns.map(({ name, type }) => `${name} ${type}`).join(', ');
    this.#client = client;
    this.#once = once;
    const stage = stageOf(table);
    this.#createStage = `CREATE TEMPORARY TABLE IF NOT EXISTS ${stage} (${typed})`;
    this.#copyStage = copyStatement({ ...table, name: stage });
    // in the order of the key, so that two writers of the same rows do not deadlock; of equal keys one
    this.#insert = `WITH inserted AS (
       INSERT INTO ${table.name} (${columns})
         SELECT DISTINCT ON (${key}) ${columns} FROM ${stage} ORDER BY ${key}
       ON CONFLICT DO NOTHING RETURNING 1)
     SELECT count(*) FROM inserted`;
  }

  /** Rejects with the server's error (BatchError or a connection's); nothing of the batch is stored then, or that is unknown. */
  async write(rows: readonly Row[], batch: OnceBatch): Promise<OnceResult> {
    if (batch.areKnown !== true && this.#staged === 0) {
      if (await this.#copy(rows, batch)) return { inserted: rows.length, differing: [] };
      this.#staged = STAGED_AFTER_REPEAT;
    }
    this.#staged = Math.max(0, this.#staged - 1);
    return this.#throughStage(rows, batch);
  }

  /** False: a key exists. */
  async #copy(rows: readonly Row[], { begun = [] }: OnceBatch): Promise<boolean> {
    const { table, encode } = this.#once;
    const before = [...beginWriting(this.#client), ...begun];
    const copies = rows.length === 0 ? [] : [copyStatement(table)];
    const plan = {
      statements: [...before, ...copies, 'COMMIT'],
      firstCopy: before.length,
      copies: copies.length,
    };
    try {
      await this.#send(plan, copies.length === 0 ? [] : [encode(rows)]);
      return true;
    } catch (error) {
      if (error instanceof BatchError && error.code === '23505' && error.stage !== 'before') return false;
      throw error;
    }
  }

  async #throughStage(rows: readonly Row[], { begun = [], differing }: OnceBatch): Promise<OnceResult> {
    // behind a pooler the next transaction may be another session's
    const isPassing = isPooled(this.#client);
    if (!isPassing && !this.#hasStage) {
      await this.#client.query(`${this.#createStage} ON COMMIT DELETE ROWS`);
      this.#hasStage = true;
    }
    const before = [
      ...beginWriting(this.#client),
      ...begun,
      ...(isPassing ? [`${this.#createStage} ON COMMIT DROP`] : []),
    ];
    // what differs is a statement of its own: it sees what another writer committed while the insertion waited for it
    const statements = [...before, this.#copyStage, this.#insert, differing, 'COMMIT'];
    const firstCopy = before.length;
    const answers = await this.#send({ statements, firstCopy, copies: 1 }, [this.#once.encode(rows)]);
    return {
      inserted: Number(answers.get(firstCopy + 1)?.[0] ?? 0),
      differing: answers.get(firstCopy + 2) ?? [],
    };
  }

  async #send(...[plan, copies]: SendArguments): ReturnType<typeof sendPipelined> {
    try {
      return await sendPipelined(this.#client, plan, copies);
    } catch (error) {
      if (error instanceof BatchError) await this.#client.query('ROLLBACK').catch(() => {}); // `error` tells why
      throw error;
    }
  }
}

type SendArguments = Parameters<typeof sendPipelined> extends [unknown, ...infer Rest] ? Rest : never;

/** The temporary table through which rows of this one go. */
export function stageOf({ name }: CopyTable): string {
  return `${name}_stage`;
}
