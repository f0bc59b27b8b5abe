import { escapeLiteral, type Client } from 'pg';
import { encodeSignals } from '../../core/copy/signals.ts';
import { SIGNALS } from '../../core/copy/tables.ts';
import type { Signal } from '../../core/signal/signal.ts';
import { OnceWriter, stageOf } from '../postgres/once-writer.ts';
import { BatchError } from '../postgres/pipelined-copy.ts';
import { beginWriting } from '../postgres/pooler.ts';
import { microsOf } from '../postgres/time-sql.ts';
import type { SignalFrame } from './state.ts';

export interface SignalResult {
  /** new rows; the others were there */
  stored: number;
  /** rows that are in the table with other values, as they are there: these stay */
  differing: Signal[];
}

const KEY = ['provider', 'symbol', 'ts', 'name', 'replay_run_id'] as const;
const SAME_KEY = KEY.map((name) => `d.${name} = s.${name}`).join(' AND ');
const CONTENT = ['value', 'score', 'metadata'] as const;
const DIFFERS = `(${CONTENT.map((name) => `s.${name}`).join(', ')}) IS DISTINCT FROM (${CONTENT.map((name) => `d.${name}`).join(', ')})`;
const STORED = `json_build_object('provider', d.provider, 'symbol', d.symbol, 'us', ${microsOf('d.ts')}, 'name', d.name,
  'value', d.value, 'score', d.score, 'metadata', d.metadata, 'run', d.replay_run_id::text)::text`;
const DIFFERING = `SELECT ${STORED} FROM ${stageOf(SIGNALS)} s JOIN signals d ON ${SAME_KEY} WHERE ${DIFFERS}`;

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

/** Writes signals into their table, each once, on one session (OnceWriter). What is stored stays. */
export class SignalWriter {
  readonly #writer: OnceWriter<Signal>;

  constructor(client: Client) {
    this.#writer = new OnceWriter(client, { table: SIGNALS, key: KEY, encode: encodeSignals });
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
    try {
      // the frame's function says false, and does nothing, when the step is committed already: all rows are there then
      const batch = { begun: begun(frame), areKnown, differing: DIFFERING };
      const { inserted, differing } = await this.#writer.write(signals, batch);
      return {
        stored: inserted,
        differing: differing.map((text) => signalOf(JSON.parse(text) as StoredSignal)),
      };
    } catch (error) {
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
  for (const statement of beginWriting(client)) await client.query(statement);
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
