import { Option, InvalidArgumentError, type Command } from 'commander';
import { ModelError, readModelFile } from '../../../stream/inference/model/file.ts';
import { ModelPool, type Prediction } from '../../../stream/inference/model/pool.ts';
import { PredictionError } from '../../../stream/inference/model/prediction.ts';
import {
  classOfNumber,
  scoreClassifier,
  scoreRegression,
  type ClassifierScore,
  type RegressionScore,
} from '../../../stream/inference/score.ts';
import { ConfigError } from '../../config/load.ts';
import { readStreamingConfig } from '../../config/streaming/load.ts';
import { YamlError } from '../../config/streaming/yaml.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../exit-codes.ts';
import { endWithUsage, nameOf } from '../arguments.ts';
import { printOf, tableLines, type Print } from '../text.ts';
import { labelledRows, RowsError } from './labelled-rows.ts';

interface ScoreArguments {
  data: string;
  label: string;
  model?: string;
  threshold?: number;
  config?: string;
  json?: true;
}

interface Report {
  model: string;
  version: string;
  /** without all features, or without what followed */
  left_out: number;
  score: ClassifierScore | RegressionScore;
}

/** rows that are predicted together */
const PAGE = 5_000;
/** nobody waits for a stage here */
const TIMEOUT_MS = 60_000;

/** `mdp models score`: predictions against what followed. */
export function registerScore(models: Command): void {
  models
    .command('score')
    .description('compare the predictions of a model with what followed')
    .requiredOption(
      '--data <file>',
      'CSV, plain, .gz or .zst, with the features of the model and what followed',
    )
    .requiredOption('--label <column>', 'the column of what followed, such as ret_30s@+60s')
    .option('--model <file>', 'NAME.onnx (default: the one that the configuration has enabled)')
    .addOption(
      new Option(
        '--threshold <x>',
        'what followed is a number: above x it is the highest class, below -x the lowest of three (default: it is a class)',
      ).argParser(threshold),
    )
    .option('--config <file>', 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', HELP)
    .action((options: ScoreArguments, command: Command) => run(options, command));
}

const HELP = `
Examples:
  $ mdp export features --provider ibkr --symbols SPY --start 2025-08-01 --end 2025-08-23 \\
      --label ret_30s@+60s --output rows.csv
  $ mdp models score --data rows.csv --label ret_30s@+60s --threshold 0.0005 --model models/signal_model.onnx

A classifier: accuracy, area under the ROC curve, Brier score, and counts by class; of two classes the higher one is what is
predicted, of more the area is the mean of one against the rest and the Brier score the sum over the classes. A regression: R² and
mean absolute error. Rows without all features or without what followed are left out and counted.

Exit codes: 0 done, 1 failed, 2 a mistake in the command line or the configuration.`;

async function run(options: ScoreArguments, command: Command): Promise<void> {
  try {
    const report = await score(options, options.model ?? configured(options, command));
    say(report, options, printOf(command));
  } catch (error) {
    if (error instanceof YamlError || error instanceof ConfigError)
      command.error(error.message, { exitCode: EXIT_USAGE });
    const isKnown =
      error instanceof ModelError ||
      error instanceof RowsError ||
      error instanceof PredictionError ||
      error instanceof RangeError;
    if (!isKnown) throw error;
    command.error(`${nameOf(command)}: ${error.message}`, { exitCode: EXIT_FAILED });
  }
}

function configured(options: ScoreArguments, command: Command): string {
  const { onnx, sklearn } = readStreamingConfig(options.config).inference.adapters;
  const enabled = [onnx, sklearn].find((adapter) => adapter.enabled);
  return (
    enabled?.model_path ?? endWithUsage(command, 'the configuration enables no model: name one with --model')
  );
}

async function score({ data, label, threshold }: ScoreArguments, path: string): Promise<Report> {
  const { description } = await readModelFile(path);
  const { features, classes, version } = description;
  const pool = await ModelPool.open({ path, features, timeoutMs: TIMEOUT_MS });
  try {
    const followed: number[] = [];
    const predicted: number[] = [];
    const probabilities: number[] = [];
    let leftOut = 0;
    const take = (prediction: Prediction | null, said: number): void => {
      if (prediction === null) {
        leftOut += 1;
        return;
      }
      followed.push(
        classes === null || threshold === undefined ? said : classOfNumber(classes, said, threshold),
      );
      predicted.push(prediction.value);
      if (prediction.probabilities !== null) probabilities.push(...prediction.probabilities);
    };
    for await (const page of pagesOf(labelledRows(data, features, label))) {
      const known = page.filter((row) => Number.isFinite(row.label));
      leftOut += page.length - known.length;
      // price is a column like any other here
      const rows = known.map(({ values }) => ({ price: Number.NaN, values }));
      for (const [at, prediction] of (await pool.predict(rows)).entries()) take(prediction, known[at].label);
    }
    const result =
      classes === null
        ? scoreRegression(followed, predicted)
        : scoreClassifier(classes, followed, predicted, probabilities);
    return { model: path, version, left_out: leftOut, score: result };
  } finally {
    pool.stop();
  }
}

async function* pagesOf<T>(rows: AsyncIterable<T>): AsyncGenerator<T[]> {
  let page: T[] = [];
  for await (const row of rows) {
    if (page.push(row) < PAGE) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

function say({ model, version, left_out, score }: Report, { json }: ScoreArguments, print: Print): void {
  if (json === true) return print(JSON.stringify({ model, version, left_out, ...score }));
  print(`${model}, version ${version}: ${score.rows} rows compared, ${left_out} left out`);
  if ('mae' in score) {
    print(`R² ${shown(score.r2)}, mean absolute error ${shown(score.mae)}`);
    return;
  }
  print(
    `accuracy ${shown(score.accuracy)}, area under the ROC curve ${shown(score.auc)}, Brier score ${shown(score.brier)}`,
  );
  const columns = (['class', 'followed', 'predicted', 'right'] as const).map((title) => ({
    title,
    align: 'right' as const,
  }));
  const rows = score.perClass.map((each) => columns.map(({ title }) => `${each[title]}`));
  for (const line of tableLines(columns, rows)) print(line);
}

function shown(value: number | null): string {
  return value === null ? '–' : `${Number(value.toPrecision(6))}`;
}

function threshold(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('Expected a number from 0.');
  return value;
}
