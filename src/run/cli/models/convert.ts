import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { ModelError, pickleAdvice, readModelFile, sideFileOf } from '../../../stream/inference/model/file.ts';
import { ModelProcess } from '../../../stream/inference/model/process.ts';
import { EXIT_FAILED } from '../../exit-codes.ts';
import { endWithUsage, nameOf } from '../arguments.ts';
import { printOf } from '../text.ts';

interface ConvertArguments {
  data?: string;
  features?: string;
  output?: string;
  signal?: string;
  modelVersion?: string;
  python: string;
  json?: true;
}

/** What convert_model.py prints: the side file, where both files are, and what it was warned of. */
interface Converted {
  model: string;
  side_file: string;
  name: string;
  version: string;
  features: string[];
  classes?: number[];
  about: { inputs: string; rows_compared: number; greatest_difference: number };
  notes: string[];
}

/** of the package, found from src/ and from dist/ alike */
const SCRIPT = fileURLToPath(new URL('../../../../python/convert_model.py', import.meta.url));
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** `mdp models convert`: a model of scikit-learn to ONNX. */
export function registerConvert(models: Command): void {
  models
    .command('convert')
    .description('make an ONNX model and its side file of a pickled scikit-learn model or Pipeline')
    .argument(
      '<pickle>',
      'the model, such as signal_model.pkl; loading it runs what it says: only files that you trust',
    )
    .option(
      '--data <file>',
      'CSV or Parquet with a column for each feature: rows to compare both on (default: 1,000 random ones)',
    )
    .option(
      '--features <list>',
      'names of the features in order, separated by commas (default: those it was fitted on)',
    )
    .option(
      '--output <file>',
      'where the model goes, with the side file beside it (default: <pickle> with .onnx)',
    )
    .option('--signal <name>', 'name of its signals (default: that of the file)')
    .option(
      '--model-version <text>',
      'version that its signals carry (default: the first 12 digits of the SHA-256 of <pickle>)',
    )
    .option(
      '--python <program>',
      'the Python that has scikit-learn of the version that made the model',
      'python3',
    )
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', HELP)
    .action((pickle: string, options: ConvertArguments, command: Command) =>
      convert(pickle, options, command),
    );
}

const HELP = `
Examples:
  $ mdp export features --provider ibkr --symbols SPY --start 2025-08-01 --end 2025-08-23 \\
      --label ret_30s@+60s --output rows.csv
  $ mdp models convert signal_model.pkl --data rows.csv

Needs a python3 with: python3 -m pip install scikit-learn skl2onnx onnxruntime pandas 'protobuf<7'
Both models predict the rows of --data that have all features; nothing is written when an output differs by more than 1e-6 (times
the output where that is above 1), or a decision is another one. The greatest difference is printed. Inputs are float64 where all
operators of the model take them, else float32. Classes must be numbers: they are the values of the signals.

Exit codes: 0 written, 1 not, 2 a mistake in the command line.`;

async function convert(pickle: string, options: ConvertArguments, command: Command): Promise<void> {
  const output = options.output ?? `${pickle.replace(/\.(pkl|pickle|joblib)$/i, '')}.onnx`;
  if (pickleAdvice(output) !== null || sideFileOf(output) === pickle || output === pickle)
    endWithUsage(command, `--output ${output} is no name for an ONNX model`);
  const args = [SCRIPT, pickle, '--output', output, '--side', sideFileOf(output)];
  const name = options.signal ?? basename(output).replace(/\.onnx$/i, '');
  args.push('--name', name);
  for (const [option, value] of [
    ['--data', options.data],
    ['--features', options.features],
    ['--model-version', options.modelVersion],
  ] as const)
    if (value !== undefined) args.push(`${option}=${value}`);
  try {
    const { stdout } = await promisify(execFile)(options.python, args, { maxBuffer: OUTPUT_BYTES_MAX });
    await tryHere(output);
    report(JSON.parse(stdout) as Converted, options, command);
  } catch (error) {
    command.error(`${nameOf(command)}: ${failureOf(error, options.python)}`, { exitCode: EXIT_FAILED });
  }
}

/** By the library that serves it, whose version is another one than that of the Python. @throws ModelError */
async function tryHere(path: string): Promise<void> {
  (await ModelProcess.start(await readModelFile(path))).kill();
}

function report(converted: Converted, { json }: ConvertArguments, command: Command): void {
  const print = printOf(command);
  if (json === true) return print(JSON.stringify(converted));
  const { model, side_file, name, version, features, classes, about, notes } = converted;
  for (const note of notes) command.configureOutput().writeErr?.(`note: ${note}\n`);
  print(
    `${model} and ${side_file}: signal ${name}, version ${version}, ` +
      `${classes === undefined ? 'a regression' : `classes ${classes.join(', ')}`} of ${features.join(', ')}; inputs ${about.inputs}`,
  );
  print(`greatest difference of ${about.rows_compared} rows: ${about.greatest_difference.toExponential(2)}`);
}

function failureOf(error: unknown, python: string): string {
  if (error instanceof ModelError) return error.message;
  const { code, stderr, message } = error as { code?: string | number; stderr?: string; message: string };
  if (code === 'ENOENT') return `there is no ${python}: install Python 3, or name it with --python`;
  // what it says of its own is its last line: a module may warn before
  return stderr?.trim().split('\n').at(-1) ?? message;
}
