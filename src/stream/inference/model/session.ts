/** onnxruntime, in the process that runs a model (predict.worker.ts) and nowhere else: it can hang, abort and take memory. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ModelDescription } from './description.ts';
import { PredictionError, type Outputs } from './prediction.ts';
import { signatureOf, type Signature } from './signature.ts';

/** One thread and no choice of kernels by load: a row has the same prediction each time. */
const OPTIONS: InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  executionMode: 'sequential',
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
};

export class ModelSession {
  readonly #session: InferenceSession;
  readonly #description: ModelDescription;
  readonly #signature: Signature;
  readonly #outputs: readonly string[];

  private constructor(session: InferenceSession, description: ModelDescription) {
    this.#session = session;
    this.#description = description;
    this.#signature = signatureOf(description, session.inputMetadata, session.outputMetadata);
    const { output, labelOutput } = description;
    this.#outputs = labelOutput === null ? [output] : [output, labelOutput];
  }

  /**
   * Also tries it on a row of zeros, because a graph may say nothing of its shapes. Rejects with an Error in one line: not a
   * model, another signature than described, or what it said of that row.
   */
  static async load(bytes: Uint8Array, description: ModelDescription): Promise<ModelSession> {
    const session = new ModelSession(await InferenceSession.create(bytes, OPTIONS), description);
    try {
      await session.predict(new Float64Array(description.features.length));
    } catch (error) {
      // zeros may be no input that it has a value for
      if (!(error instanceof PredictionError) || error.kind !== 'not_finite') throw error;
    }
    return session;
  }

  /**
   * @param rows n × features, one row after the other, finite. Each is a run by itself: kernels differ by the number of rows in
   *   their last digits, and a prediction must not depend on which rows came together
   * @throws PredictionError threw, not_finite, wrong_shape
   */
  async predict(rows: Float64Array): Promise<Outputs> {
    const { features, classes } = this.#description;
    const count = rows.length / features.length;
    const values = new Float64Array(count);
    const probabilities = classes === null ? null : new Float64Array(count * classes.length);
    for (let row = 0; row < count; row += 1) {
      const results = await this.#run(rows.slice(row * features.length, (row + 1) * features.length));
      const { output, labelOutput } = this.#description;
      const numbers = numbersOf(results[output], output, classes?.length ?? 1);
      if (classes === null || probabilities === null) {
        values[row] = numbers[0];
        continue;
      }
      probabilities.set(numbers, row * classes.length);
      const label = labelOutput === null ? null : numbersOf(results[labelOutput], labelOutput, 1)[0];
      if (label !== null && !classes.includes(label))
        throw new PredictionError(
          'wrong_shape',
          `${labelOutput} is ${label}: classes are ${classes.join(', ')}`,
        );
      values[row] = label ?? classes[indexOfMax(numbers)];
    }
    return { values, probabilities };
  }

  async #run(row: Float64Array): Promise<InferenceSession.OnnxValueMapType> {
    const { input, type } = this.#signature;
    const shape = [1, row.length];
    const tensor =
      type === 'float64'
        ? new Tensor('float64', row, shape)
        : new Tensor('float32', Float32Array.from(row), shape);
    try {
      return await this.#session.run({ [input]: tensor }, this.#outputs);
    } catch (error) {
      throw new PredictionError('threw', firstLine((error as Error).message), { cause: error });
    }
  }
}

/** @throws PredictionError when it is not this many finite numbers */
function numbersOf(
  value: InferenceSession.OnnxValueMapType[string],
  name: string,
  count: number,
): Float64Array {
  const { data, dims, type } = value;
  const isNumeric = !Array.isArray(data);
  if (!isNumeric || data.length !== count || dims.length > 2)
    throw new PredictionError(
      'wrong_shape',
      `${name}: wanted ${count} number(s) for a row, found ${type} [${dims.join(', ')}]`,
    );
  const numbers = Float64Array.from(data as ArrayLike<number | bigint>, Number);
  if (!numbers.every(Number.isFinite))
    throw new PredictionError('not_finite', `${name} is ${numbers.join(', ')}`);
  return numbers;
}

function indexOfMax(numbers: Float64Array): number {
  let best = 0;
  for (let at = 1; at < numbers.length; at += 1) if (numbers[at] > numbers[best]) best = at;
  return best;
}

function firstLine(text: string): string {
  return text.split('\n')[0].slice(0, 500);
}
