import type { ModelDescription } from './description.ts';

/** An input or output as onnxruntime shows it. */
export interface ValueInfo {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type?: string;
  /** a number, or a name where any length goes; [] where nothing is said */
  readonly shape?: readonly (number | string)[];
}

/** How a model is called. */
export interface Signature {
  input: string;
  type: 'float32' | 'float64';
}

const FLOATS = ['float32', 'float64'];
/** of a decision: numbers that a class can be compared with */
const LABELS = [...FLOATS, 'int64', 'int32'];

/**
 * A row is predicted by itself (session.ts), so the first dimension is free or 1.
 *
 * @throws RangeError with everything that was wanted and not found
 */
export function signatureOf(
  description: ModelDescription,
  inputs: readonly ValueInfo[],
  outputs: readonly ValueInfo[],
): Signature {
  const problems: string[] = [];
  const { features, classes, output, labelOutput } = description;
  const input = inputs[0];
  const wanted = `one input${description.input === null ? '' : ` ${description.input}`}, float32 or float64 [rows, ${features.length}]`;
  if (
    inputs.length !== 1 ||
    (description.input ?? input.name) !== input.name ||
    !isMatrix(input, features.length)
  )
    problems.push(`wanted ${wanted} (${features.length} features), found ${listed(inputs)}`);
  const widths = classes === null ? [1] : [classes.length];
  const what = classes === null ? 'number' : `probabilities of ${classes.length} classes`;
  const isOutput = (info: ValueInfo): boolean =>
    isMatrix(info, widths[0]) || (classes === null && isVector(info, FLOATS));
  check(output, `the ${what}, float32 or float64 [rows, ${widths[0]}]`, isOutput);
  if (labelOutput !== null)
    check(labelOutput, 'the decision, int64, int32, float32 or float64 [rows]', (info) =>
      isVector(info, LABELS),
    );
  if (problems.length > 0) throw new RangeError(problems.join('; '));
  return { input: input.name, type: input.type as Signature['type'] };

  function check(name: string, as: string, isRight: (info: ValueInfo) => boolean): void {
    const found = outputs.find((info) => info.name === name);
    if (found === undefined) problems.push(`wanted an output ${name}, found ${listed(outputs)}`);
    else if (!isRight(found)) problems.push(`wanted ${name} to be ${as}, found ${shown(found)}`);
  }
}

function isMatrix({ isTensor, type = '', shape = [] }: ValueInfo, width: number): boolean {
  if (!isTensor || !FLOATS.includes(type)) return false;
  return shape.length === 0 || (shape.length === 2 && isFree(shape[0], 1) && isFree(shape[1], width));
}

function isVector({ isTensor, type = '', shape = [] }: ValueInfo, types: readonly string[]): boolean {
  if (!isTensor || !types.includes(type)) return false;
  return shape.length === 0 || (shape.length === 1 && isFree(shape[0], 1));
}

function isFree(length: number | string, wanted: number): boolean {
  return typeof length === 'string' || length === wanted;
}

function listed(infos: readonly ValueInfo[]): string {
  return infos.length === 0 ? 'none' : infos.map(shown).join(', ');
}

function shown({ name, isTensor, type, shape }: ValueInfo): string {
  if (!isTensor) return `${name}: no tensor (a classifier is converted with zipmap off)`;
  const lengths = (shape ?? []).map((length) => (length === '' ? 'any' : length));
  return `${name}: ${type} [${lengths.join(', ')}]`;
}
