import { parseDuration } from '../../../core/duration.ts';
import { parseLabel } from '../../../core/signal/history-rows.ts';
import { ModelError } from '../../../stream/inference/model/file.ts';
import { ModelPool } from '../../../stream/inference/model/pool.ts';
import type { StreamingConfig } from '../../config/streaming/load.ts';

/**
 * Loads the models that are enabled and tries them.
 *
 * @param features that are computed
 * @returns a line for each
 * @throws ModelError for the first that cannot be used, with the key that names it
 */
export async function checkModels(
  { inference }: StreamingConfig,
  features: readonly string[],
): Promise<string[]> {
  const lines: string[] = [];
  for (const name of ['sklearn', 'onnx'] as const) {
    const { enabled, model_path: path, label } = inference.adapters[name];
    if (!enabled) continue;
    const problem = labelProblem(label, features);
    if (problem !== null) throw new ModelError(`inference.adapters.${name}.label: ${problem}`);
    try {
      const pool = await ModelPool.open({ path, features });
      const { name: signal, version, features: needed } = pool.model;
      pool.stop();
      lines.push(`${path} is right: signal ${signal}, version ${version}, ${needed.length} feature(s)`);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      throw new ModelError(`inference.adapters.${name}.model_path: ${error.message}`, { cause: error });
    }
  }
  return lines;
}

function labelProblem(label: string | undefined, names: readonly string[]): string | null {
  if (label === undefined) return null;
  try {
    parseLabel(label, { names }, parseDuration);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
