import { escapeLiteral, type Client } from 'pg';
import { encodeSignals } from '../../core/copy/signals.ts';
import { columnList, copyStatement, SIGNALS } from '../../core/copy/tables.ts';
import type { Signal } from '../../core/signal/signal.ts';
import { BatchError, sendPipelined } from '../postgres/pipelined-copy.ts';
import { isPooled } from '../postgres/pooler.ts';
import { microsOf } from '../postgres/time-sql.ts';
import type { SignalFrame } from './state.ts';

export interface SignalResult {
  /** new rows; the others were there */
  stored: number;
  /** rows that are in the table with other values, as they are there: these stay */
  differing: Signal[];
}

/** After a batch with a row that was there, so many further ones are staged before the direct path is tried again. */
const STAGED_AFTER_REPEAT = 20;

const COLUMNS = columnList(SIGNALS);
const STAGE_COLUMNS = SIGNALS.columns.map(({ name, type }) => `${name} ${type}`).join(', ');
const CREATE_STAGE = `CREATE TEMPORARY TABLE IF NOT EXISTS signals_stage (${STAGE_COLUMNS})`;
const COPY_STAGE = copyStatement({ ...SIGNALS, name: 'signals_stage' });
const KEY = ['provider', 'symbol', 'ts', 'name', 'replay_run_id'] as const;
const SAME_KEY = KEY.map((name) => `d.${name} = s.${name}`).join(' AND ');
const CONTENT = ['value', 'score', 'metadata'] as const;
const DIFFERS = `(${CONTENT.map((name) => `s.${name}`).join(', ')}) IS DISTINCT FROM (${CONTENT.map((name) => `d.${name}`).join(', ')})`;
const STORED = `json_build_object('provider', d.provider, 'symbol', d.symbol, 'us', ${microsOf('d.ts')}, 'name', d.name,
  'value', d.value, 'score', d.score, 'metadata', d.metadata, 'run', d.replay_run_id::text)::text`;
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

interface StoredSignal {
  provider: string;
  symbol: string;
  us: number;
  name: string;
  value: number;
  score: number | null;
  metadata: { window?: string; price?: number; model_version?: string } | null;
  run: string;
}

/**
 * Writes signals into their table, each once, on one session: straight by COPY, and where a row was there already by way of a
 * temporary table (the same pattern as TickDataWriter). What is stored stays.
 */
export class SignalWriter {
  readonly #client: Client;
  #staged = 0;
  #hasStage = false;

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * @param frame the step of a partition that this is; null: rows alone
   * @param areKnown these may be there: they are staged at once
   * Rejects with the server's error, SQLSTATE MDF01 when the partition was taken over; the same call may be repeated.
   */
  async write(
    signals: readonly Signal[],
    frame: SignalFrame | null,
    areKnown: boolean,
  ): Promise<SignalResult> {
    if (!areKnown && this.#staged === 0) {
      const stored = await this.#copy(signals, frame);
      if (stored !== null) return { stored, differing: [] };
      this.#staged = STAGED_AFTER_REPEAT;
    }
    this.#staged = Math.max(0, this.#staged - 1);
    return this.#stage(signals, frame);
  }

  /** Null: a key exists. */
  async #copy(signals: readonly Signal[], frame: SignalFrame | null): Promise<number | null> {
    const before = [BEGIN, ...begun(frame)];
    const copies = signals.length === 0 ? [] : [copyStatement(SIGNALS)];
    const plan = {
      statements: [...before, ...copies, 'COMMIT'],
      firstCopy: before.length,
      copies: copies.length,
    };
    try {
      await sendPipelined(this.#client, plan, copies.length === 0 ? [] : [encodeSignals(signals)]);
      return signals.length;
    } catch (error) {
      if (error instanceof BatchError) await this.#client.query('ROLLBACK').catch(() => {}); // `error` tells why
      if (error instanceof BatchError && error.code === '23505' && error.stage !== 'before') return null;
      throw causeOf(error);
    }
  }

  async #stage(signals: readonly Signal[], frame: SignalFrame | null): Promise<SignalResult> {
    // behind a pooler the next transaction may be another session's
    const isPassing = isPooled(this.#client);
    if (!isPassing && !this.#hasStage) {
      await this.#client.query(`${CREATE_STAGE} ON COMMIT DELETE ROWS`);
      this.#hasStage = true;
    }
    const statements = [
      BEGIN,
      // false, and nothing else, when the step is committed already: what follows then finds all its rows
      ...begun(frame),
      ...(isPassing ? [`${CREATE_STAGE} ON COMMIT DROP`] : []),
      COPY_STAGE,
      // in the order of the key, so that two writers of the same rows do not deadlock; of equal keys the first
      `WITH inserted AS (
         INSERT INTO signals (${COLUMNS})
           SELECT DISTINCT ON (${KEY.join(', ')}) ${COLUMNS} FROM signals_stage ORDER BY ${KEY.join(', ')}
         ON CONFLICT DO NOTHING RETURNING 1)
       SELECT count(*) FROM inserted`,
      // a separate statement: it sees what another writer committed while the previous one waited for it
      `SELECT ${STORED} FROM signals_stage s JOIN signals d ON ${SAME_KEY} WHERE ${DIFFERS}`,
      'COMMIT',
    ];
    try {
      const firstCopy = statements.indexOf(COPY_STAGE);
      const answers = await sendPipelined(this.#client, { statements, firstCopy, copies: 1 }, [
        encodeSignals(signals),
      ]);
      return {
        stored: Number(answers.get(firstCopy + 1)?.[0] ?? 0),
        differing: (answers.get(firstCopy + 2) ?? []).map((text) =>
          signalOf(JSON.parse(text) as StoredSignal),
        ),
      };
    } catch (error) {
      if (error instanceof BatchError) await this.#client.query('ROLLBACK').catch(() => {}); // `error` tells why
      throw causeOf(error);
    }
  }
}

function begun(frame: SignalFrame | null): string[] {
  if (frame === null) return [];
  const { name, held, number, log, position } = frame;
  const values = [
    escapeLiteral(name.topic),
    escapeLiteral(name.group),
    held.partition,
    held.epoch,
    position === null ? 'NULL' : escapeLiteral(position),
    number,
    escapeLiteral(log),
  ];
  return [`SELECT signals_begin_step(${values.join(', ')})`];
}

/** The statement that begins the transaction of a step, and its fence. */
export async function beginSignalStep(client: Client, frame: SignalFrame): Promise<boolean> {
  await client.query(BEGIN);
  const { rows } = await client.query<{ begun: boolean }>(`${begun(frame)[0]} AS begun`);
  return rows[0].begun;
}

/** The server's own error: what fences and retries are judged by. */
function causeOf(error: unknown): unknown {
  return error instanceof BatchError && error.stage === 'before' ? error.cause : error;
}

function signalOf({ provider, symbol, us, name, value, score, metadata, run }: StoredSignal): Signal {
  return {
    runId: BigInt(run),
    provider,
    symbol,
    tsUs: us,
    name,
    value,
    score,
    window: metadata?.window ?? '',
    price: metadata?.price ?? NaN,
    modelVersion: metadata?.model_version ?? null,
  };
}
