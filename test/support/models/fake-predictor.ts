import { PredictionError, type Outputs } from '../../../src/stream/inference/model/prediction.ts';
import type { Predictor } from '../../../src/stream/inference/model/process.ts';

/** Answers a call with its first number, when it is told to. */
export class FakePredictor implements Predictor {
  readonly ended: Promise<string>;
  /** the first number of each call */
  readonly asked: number[] = [];
  isKilled = false;
  #end: (why: string) => void = () => {};
  #call: { resolve: (outputs: Outputs) => void; reject: (error: Error) => void } | null = null;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  predict(rows: Float64Array): Promise<Outputs> {
    if (this.#call !== null) throw new Error('asked twice at a time');
    this.asked.push(rows[0]);
    return new Promise((resolve, reject) => {
      this.#call = { resolve, reject };
    });
  }

  /** True when there was a call to answer. */
  answer(): boolean {
    const call = this.#call;
    this.#call = null;
    call?.resolve({ values: Float64Array.of(this.asked.at(-1) ?? 0), probabilities: null });
    return call !== null;
  }

  die(why: string): void {
    this.#call?.reject(new PredictionError('died', why));
    this.#call = null;
    this.#end(why);
  }

  kill(): void {
    if (this.isKilled) return;
    this.isKilled = true;
    this.die('ended by SIGKILL');
  }
}
