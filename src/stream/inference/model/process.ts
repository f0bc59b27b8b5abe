import { fork, type ChildProcess } from 'node:child_process';
import { deadline } from '../../../core/wait.ts';
import { workerFile } from '../../../ingest/worker.ts';
import { ModelError, type ModelFile } from './file.ts';
import type { FromModel, ToModel } from './predict.worker.ts';
import { PredictionError, type Outputs } from './prediction.ts';

/** Something that runs one model, one call at a time. */
export interface Predictor {
  /** @param rows n × features. Rejects with PredictionError */
  predict(rows: Float64Array): Promise<Outputs>;
  /** Ends it at once, also in the middle of a call, which then rejects with `died`. */
  kill(): void;
  /** Resolves when it is gone, killed or not, with what is known of why. */
  readonly ended: Promise<string>;
}

/** Rejects with ModelError when the model is not as described, or does not load. */
export type StartPredictor = (file: ModelFile) => Promise<Predictor>;

const LOAD_MS = 60_000;
/** of what the library said last on its standard error */
const TAIL_CHARS = 1_000;

/** The processes that live: none outlives this one, also where nobody stopped it in order. */
const living = new Set<ChildProcess>();
let isWatching = false;

/**
 * A model in a process of its own: a call of onnxruntime can neither be interrupted from within its process, nor kept from
 * ending it. It has an empty environment: what a model file makes of it has no password to read.
 */
export class ModelProcess implements Predictor {
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  #waiting: ((said: FromModel | null) => void) | null = null;
  #tail = '';

  private constructor() {
    this.#child = fork(workerFile(import.meta.url, 'predict'), [], {
      execPath: process.execPath,
      execArgv: ['--disable-sigusr1', '--disable-warning=ExperimentalWarning'],
      env: {},
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const child = this.#child;
    living.add(child);
    if (!isWatching) process.on('exit', killAll);
    isWatching = true;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#tail = (this.#tail + text).slice(-TAIL_CHARS);
    });
    child.on('message', (said: FromModel) => this.#settle(said));
    this.ended = new Promise((resolve) => {
      const end = (why: string): void => {
        living.delete(child);
        resolve(why);
        this.#settle(null);
      };
      // a process that could not be started has no exit
      child.once('error', (error) => end(error.message));
      child.once('close', (code, signal) => end(`ended by ${signal ?? `exit code ${code}`}${this.#said()}`));
    });
  }

  static async start(file: ModelFile): Promise<ModelProcess> {
    const { path, bytes, description } = file;
    const started = new ModelProcess();
    try {
      const late = (): Error => new ModelError(`${path} is not loaded and tried within ${LOAD_MS / 1000} s`);
      const said = await deadline(started.#ask({ kind: 'load', bytes, description }), LOAD_MS, late);
      if (said === null)
        throw new ModelError(`${path} ends its process while it is loaded: ${await started.ended}`);
      if (said.kind === 'refused') throw new ModelError(`${path}: ${said.problem}`);
      return started;
    } catch (error) {
      started.kill();
      throw error;
    }
  }

  async predict(rows: Float64Array): Promise<Outputs> {
    const said = await this.#ask({ kind: 'predict', rows });
    if (said?.kind === 'predicted') return said.outputs;
    if (said?.kind === 'failed') throw new PredictionError(said.failure, said.message);
    throw new PredictionError('died', `the model's process ${await this.ended}`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** of the process, for operators and tests */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Its answer; null: it is gone. */
  #ask(message: ToModel): Promise<FromModel | null> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (!this.#child.connected) this.#settle(null);
      // an error of the channel is followed by its end
      else this.#child.send(message, () => {});
    });
  }

  #settle(said: FromModel | null): void {
    this.#waiting?.(said);
    this.#waiting = null;
  }

  #said(): string {
    const last = this.#tail.trim().split('\n').at(-1) ?? '';
    return last === '' ? '' : `: ${last}`;
  }
}

function killAll(): void {
  for (const child of living) child.kill('SIGKILL');
}
