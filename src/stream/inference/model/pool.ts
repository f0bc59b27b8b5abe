import { availableParallelism } from 'node:os';
import { envOf, type Env } from '../../../core/env.ts';
import { pause } from '../../../core/wait.ts';
import { NO_METER, type Meter } from '../../meter.ts';
import { Crew, type CrewOptions } from './crew.ts';
import type { ModelDescription } from './description.ts';
import { fingerprintOf, ModelError, readModelFile, type ModelFile } from './file.ts';
import { ModelProcess, type StartPredictor } from './process.ts';

/** The part of a row of features that models look at. */
export interface ModelRow {
  /** the last one */
  readonly price: number;
  /** by feature, in the order of the pool's `features`; NaN: cold */
  readonly values: Float64Array;
}

export interface Prediction {
  /** the class, or the number of a regression */
  value: number;
  /** probability of that class; null of a regression */
  score: number | null;
  /** of each class, in the order of the model's; null of a regression */
  probabilities: Float64Array | null;
  /** that said it */
  model: ModelDescription;
}

export interface ModelPoolOptions {
  /** NAME.onnx */
  path: string;
  /** names of what `values` of a row holds, in that order; a model may also name `price` */
  features: readonly string[];
  /** of a call of up to 500 rows, ms */
  timeoutMs?: number;
  /** processes; default 1, at most one for each core */
  workers?: number;
  meter?: Meter;
  env?: Partial<Env>;
  /** default: processes of onnxruntime */
  start?: StartPredictor;
}

export const DEFAULT_TIMEOUT_MS = 1_000;
/** some 20 ms of a small model */
const CALL_ROWS = 500;
const LOOK_MS = 1_000;
const PRICE = 'price';

/**
 * A model, in processes of its own and never on the thread that asks. It is loaded again when its files change (two looks in a row see
 * the same change): the one before serves until the new one is loaded and tried, and stays when that is wrong, which is logged
 * and counted (errors_total, component inference, reason model_file).
 */
export class ModelPool {
  readonly #options: Required<Omit<ModelPoolOptions, 'env'>>;
  readonly #env: Env;
  #crew: Crew;
  #places: readonly number[];
  /** of the files that serve, or were refused last */
  #judged: string;
  /** what the last look saw */
  #seen: string;
  #isStopped = false;

  private constructor(
    options: Required<Omit<ModelPoolOptions, 'env'>>,
    env: Env,
    crew: Crew,
    judged: string,
  ) {
    this.#options = options;
    this.#env = env;
    this.#crew = crew;
    this.#places = placesOf(crew.file, options.features);
    this.#judged = judged;
    this.#seen = judged;
  }

  /** Rejects with ModelError: a start needs a model that is right. */
  static async open(given: ModelPoolOptions): Promise<ModelPool> {
    const { env: partial, ...rest } = given;
    const env = envOf(partial);
    const options = {
      timeoutMs: DEFAULT_TIMEOUT_MS,
      meter: NO_METER,
      start: (file: ModelFile) => ModelProcess.start(file),
      ...rest,
      workers: Math.min(rest.workers ?? 1, availableParallelism()),
    };
    const judged = await fingerprintOf(options.path);
    const file = await readModelFile(options.path);
    placesOf(file, options.features);
    return new ModelPool(options, env, await Crew.start(crewOptions(options, env, file)), judged);
  }

  /** The one that serves. */
  get model(): ModelDescription {
    return this.#crew.file.description;
  }

  /** of the file that serves, `sha256:` and hex */
  get digest(): string {
    return this.#crew.file.digest;
  }

  /** Has the row all features of the model? */
  isWarm({ price, values }: ModelRow): boolean {
    return this.#places.every((at) => Number.isFinite(at < 0 ? price : values[at]));
  }

  /**
   * In the order of the rows; null: the row is cold. Rejects with PredictionError: then none of them has a prediction.
   */
  async predict(rows: readonly ModelRow[]): Promise<(Prediction | null)[]> {
    const predictions = Array.from<Prediction | null>({ length: rows.length }).fill(null);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < rows.length) {
        const from = next;
        next += CALL_ROWS;
        try {
          await this.#predictPart(rows.slice(from, next), from, predictions);
        } catch (error) {
          next = rows.length;
          throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: this.#options.workers }, lane));
    return predictions;
  }

  async #predictPart(rows: readonly ModelRow[], from: number, into: (Prediction | null)[]): Promise<void> {
    const { file } = this.#crew;
    const places = this.#places;
    const warm = [...rows.keys()].filter((at) => this.isWarm(rows[at]));
    if (warm.length === 0) return;
    const inputs = new Float64Array(warm.length * places.length);
    let at = 0;
    for (const row of warm) {
      const { price, values } = rows[row];
      for (const place of places) inputs[at++] = place < 0 ? price : values[place];
    }
    const outputs = await this.#crew.predict(inputs);
    const { description: model } = file;
    for (const [index, row] of warm.entries()) {
      const value = outputs.values[index];
      const { classes } = model;
      const probabilities =
        classes === null || outputs.probabilities === null
          ? null
          : outputs.probabilities.subarray(index * classes.length, (index + 1) * classes.length);
      const score = probabilities?.[classes?.indexOf(value) ?? 0] ?? null;
      into[from + row] = { value, score, probabilities, model };
    }
  }

  /** Looks at the files every second until `stopping` aborts. */
  async watch(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      await pause(LOOK_MS, stopping);
      if (!stopping.aborted) await this.look();
    }
  }

  /** One look; resolves when a change is in effect or refused, and never rejects. */
  async look(): Promise<void> {
    const { path, features, meter } = this.#options;
    const found = await fingerprintOf(path);
    const isSettled = found === this.#seen;
    this.#seen = found;
    if (!isSettled || found === this.#judged || this.#isStopped) return;
    this.#judged = found;
    try {
      const file = await readModelFile(path);
      if (file.digest === this.digest && JSON.stringify(file.description) === JSON.stringify(this.model))
        return;
      const places = placesOf(file, features);
      const crew = await Crew.start(crewOptions(this.#options, this.#env, file));
      if (this.#isStopped) return crew.stop();
      this.#crew.retire();
      this.#crew = crew;
      this.#places = places;
      meter.count('model_loads_total', { result: 'loaded' });
      this.#env.log('info', 'The model was read again', { file: path, model_version: this.model.version });
    } catch (error) {
      meter.count('model_loads_total', { result: 'refused' });
      meter.count('errors_total', { component: 'inference', reason: 'model_file' });
      this.#env.log('error', 'The model file is wrong: the model before it stays', {
        file: path,
        err: error,
      });
    }
  }

  /** Ends its processes; calls that run reject with `stopped`. */
  stop(): void {
    this.#isStopped = true;
    this.#crew.stop();
  }
}

function crewOptions(
  { workers, timeoutMs, start, meter }: Required<Omit<ModelPoolOptions, 'env'>>,
  env: Env,
  file: ModelFile,
): CrewOptions {
  const replaced = (why: string): void => {
    meter.count('model_processes_replaced_total', {});
    env.log('warn', 'A process of the model is replaced', { why });
  };
  return { file, size: workers, timeoutMs, start, env, replaced };
}

/** Where in a row the model's features are; −1: the price. @throws ModelError */
function placesOf({ path, description }: ModelFile, features: readonly string[]): number[] {
  const unknown = description.features.filter((name) => name !== PRICE && !features.includes(name));
  if (unknown.length > 0)
    throw new ModelError(
      `${path} needs features that are not computed: ${unknown.join(', ')} (computed: ${[...features, PRICE].join(', ')})`,
    );
  return description.features.map((name) => features.indexOf(name));
}
