import type { Env } from '../../../core/env.ts';
import { pause } from '../../../core/wait.ts';
import type { ModelFile } from './file.ts';
import { PredictionError, type Outputs } from './prediction.ts';
import type { Predictor, StartPredictor } from './process.ts';

export interface CrewOptions {
  file: ModelFile;
  /** processes: calls at once */
  size: number;
  /** of a call, from when it is made, ms */
  timeoutMs: number;
  start: StartPredictor;
  env: Env;
  /** one ended by itself, or was ended because a call took too long */
  replaced(why: string): void;
}

interface Call {
  rows: Float64Array;
  answer: PromiseWithResolvers<Outputs>;
  timer: NodeJS.Timeout;
  /** null: it waits */
  predictor: Predictor | null;
}

const QUEUE_MAX = 64;
/** between two starts of a process in whose place none has predicted since, doubled each time */
const RESTART_MS = { min: 250, max: 5_000 };

/**
 * The processes of one model file. One that dies, or whose call takes too long, is replaced by another with the same bytes. A
 * call waits for a free one, in order; the queue is bounded.
 *
 *   serving ── retire(): no further calls ─► retired ── calls done ─► its processes are ended
 *      └────── stop() ─► its processes are ended at once, and calls reject with `stopped`
 */
export class Crew {
  readonly file: ModelFile;
  readonly #options: CrewOptions;
  readonly #living = new Set<Predictor>();
  readonly #idle: Predictor[] = [];
  readonly #waiting: Call[] = [];
  readonly #running = new Set<Call>();
  readonly #stopping = new AbortController();
  #isRetired = false;
  /** in a row, without a prediction between them */
  #deaths = 0;

  private constructor(options: CrewOptions) {
    this.file = options.file;
    this.#options = options;
  }

  /** Rejects with ModelError when the model does not load; none of its processes is left then. */
  static async start(options: CrewOptions): Promise<Crew> {
    const crew = new Crew(options);
    const { start, file, size } = options;
    const started = await Promise.allSettled(Array.from({ length: size }, () => start(file)));
    for (const outcome of started) if (outcome.status === 'fulfilled') crew.#enter(outcome.value);
    const failed = started.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) return crew;
    crew.stop();
    throw failed.reason;
  }

  /** @param rows n × features, finite. Rejects with PredictionError */
  predict(rows: Float64Array): Promise<Outputs> {
    if (this.#isRetired)
      return Promise.reject(new PredictionError('stopped', 'the model takes no further calls'));
    if (this.#waiting.length >= QUEUE_MAX)
      return Promise.reject(new PredictionError('queue_full', `${QUEUE_MAX} calls wait for the model`));
    const answer = Promise.withResolvers<Outputs>();
    const timer = setTimeout(() => this.#late(call), this.#options.timeoutMs);
    const call: Call = { rows, answer, timer, predictor: null };
    this.#waiting.push(call);
    this.#next();
    return answer.promise;
  }

  /** Takes no further calls, and ends its processes when those it has are done. */
  retire(): void {
    this.#isRetired = true;
    this.#endWhenDone();
  }

  /** Ends its processes at once. */
  stop(): void {
    this.#isRetired = true;
    this.#stopping.abort();
    for (const call of [...this.#waiting.splice(0), ...this.#running])
      this.#reject(call, new PredictionError('stopped', 'the model is stopped'));
    for (const predictor of this.#living) predictor.kill();
  }

  #next(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const [predictor, call] = [this.#idle.shift() as Predictor, this.#waiting.shift() as Call];
      call.predictor = predictor;
      this.#running.add(call);
      void this.#run(call, predictor);
    }
  }

  async #run(call: Call, predictor: Predictor): Promise<void> {
    try {
      const outputs = await predictor.predict(call.rows);
      this.#deaths = 0;
      call.answer.resolve(outputs);
    } catch (error) {
      call.answer.reject(error);
    }
    clearTimeout(call.timer);
    this.#running.delete(call);
    if (this.#living.has(predictor)) this.#idle.push(predictor);
    this.#next();
    this.#endWhenDone();
  }

  #late(call: Call): void {
    const { timeoutMs } = this.#options;
    const waiting = this.#waiting.indexOf(call);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    const where = waiting >= 0 ? 'no process of the model was free' : 'the model gave no answer';
    // before the process ends, whose end is the consequence
    this.#reject(call, new PredictionError('timeout', `${where} within ${timeoutMs} ms`));
    if (call.predictor !== null) this.#leave(call.predictor, 'was ended: its call took too long');
    this.#endWhenDone();
  }

  #reject(call: Call, error: PredictionError): void {
    clearTimeout(call.timer);
    this.#running.delete(call);
    call.answer.reject(error);
  }

  #enter(predictor: Predictor): void {
    this.#living.add(predictor);
    this.#idle.push(predictor);
    void predictor.ended.then((why) => this.#leave(predictor, why));
    this.#next();
  }

  #leave(predictor: Predictor, why: string): void {
    if (!this.#living.delete(predictor)) return;
    predictor.kill();
    const idle = this.#idle.indexOf(predictor);
    if (idle >= 0) this.#idle.splice(idle, 1);
    if (this.#isRetired) return;
    this.#options.replaced(why);
    void this.#replace();
  }

  async #replace(): Promise<void> {
    const { start, file, env } = this.#options;
    while (!this.#stopping.signal.aborted) {
      const waitMs =
        this.#deaths === 0 ? 0 : Math.min(RESTART_MS.max, RESTART_MS.min * 2 ** (this.#deaths - 1));
      this.#deaths += 1;
      if (waitMs > 0) await pause(waitMs, this.#stopping.signal);
      try {
        const predictor = await start(file);
        this.#enter(predictor);
        if (this.#stopping.signal.aborted) predictor.kill();
        return;
      } catch (error) {
        env.log('warn', 'A process of the model does not start (will try again)', { err: error });
      }
    }
  }

  #endWhenDone(): void {
    if (!this.#isRetired || this.#waiting.length > 0 || this.#running.size > 0) return;
    this.#stopping.abort();
    for (const predictor of this.#living) predictor.kill();
  }
}
