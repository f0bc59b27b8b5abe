import type { Command } from 'commander';
import { featureSet } from '../../../core/feature/catalogue.ts';
import { formatMicros } from '../../../core/time.ts';
import { RulesError } from '../../../stream/inference/rules/mistakes.ts';
import type { Rule, RuleSet } from '../../../stream/inference/rules/rule-set.ts';
import { readRules } from '../../../stream/inference/rules/rules-file.ts';
import { ConfigError } from '../../config/load.ts';
import { featureSettings } from '../../config/streaming/feature-keys.ts';
import { readStreamingConfig } from '../../config/streaming/load.ts';
import { YamlError } from '../../config/streaming/yaml.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../exit-codes.ts';
import { nameOf } from '../arguments.ts';
import { printable, printOf, tableLines, type Print } from '../text.ts';
import { InputError, readFeatureRows, type FeatureRow } from './feature-rows.ts';

interface TestArguments {
  input: string;
  rules?: string;
  config?: string;
  json?: true;
}

/** `mdp rules test`: which rules would have fired on rows of features. */
export function registerRulesTest(rules: Command): void {
  rules
    .command('test')
    .description('say which rules fire, and when, on rows of features in a file; needs no server')
    .requiredOption(
      '--input <file>',
      'rows of features as mdp export features writes them: CSV or NDJSON, also .gz or .zst',
    )
    .option('--rules <file>', 'the rules (default: inference.adapters.rules.file)')
    .option('--config <file>', 'the configuration (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'one JSON object (default: text)')
    .addHelpText('after', HELP)
    .action(async (options: TestArguments, command: Command) => {
      try {
        const config = readStreamingConfig(options.config);
        const file = options.rules ?? config.inference.adapters.rules.file;
        const features = featureSet(featureSettings(config.features)).names;
        await new RulesTest(await readRules(file, features), features, file, options, printOf(command)).run();
      } catch (error) {
        if (error instanceof YamlError || error instanceof ConfigError || error instanceof RulesError)
          command.error(error.message, { exitCode: EXIT_USAGE });
        if (!(error instanceof InputError)) throw error;
        command.error(`${nameOf(command)}: ${error.message}`, { exitCode: EXIT_FAILED });
      }
    });
}

const HELP = `
Example:
  $ mdp rules test --rules configs/rules.yaml --input features.csv

The input has the columns provider, symbol, ts (ISO-8601), price and the features that the rules name (empty: no value yet), and
replay_run_id where rows are of a replay; others are not looked at. Rows of a symbol are in order of time.
A line for each rule that fires; then, for each rule, how often it fired, on how many rows one of its features had no value (it
does not fire there), and on how many the condition had none (1 / 0).
--json: file, signals (ts, provider, symbol, name, value, score, price), rows, and rules with name, mode, fired, cold and failed.

Exit codes: 0 done, whether or not a rule fired; 1 the input cannot be read, or has a row that is wrong; 2 a mistake in the command
line, the configuration or the rules.`;

interface Counts {
  fired: number;
  /** rows on which a variable had no value */
  cold: number;
  failed: number;
}

/** One run over the input; lines are printed as rows are read, so that memory is flat. */
class RulesTest {
  readonly #rules: RuleSet;
  readonly #features: readonly string[];
  readonly #file: string;
  readonly #options: TestArguments;
  readonly #print: Print;
  readonly #counts: ReadonlyMap<string, Counts>;
  readonly #symbols = new Map<string, { tsUs: bigint; held: readonly string[] }>();
  #rows = 0;
  #signals = 0;

  constructor(
    rules: RuleSet,
    features: readonly string[],
    file: string,
    options: TestArguments,
    print: Print,
  ) {
    this.#rules = rules;
    this.#features = features;
    this.#file = file;
    this.#options = options;
    this.#print = print;
    this.#counts = new Map(rules.rules.map(({ name }) => [name, { fired: 0, cold: 0, failed: 0 }]));
  }

  /** @throws InputError */
  async run(): Promise<void> {
    const { input, json } = this.#options;
    // nothing is printed before the first row: an input that is not there leaves no half of an object
    const needed = [...new Set(this.#rules.rules.flatMap(({ variables }) => variables))];
    for await (const row of readFeatureRows({ file: input, features: this.#features, needed }))
      this.#row(row);
    if (json === true) this.#endJson();
    else this.#endText();
  }

  #row(row: FeatureRow): void {
    const key = JSON.stringify([row.runId, row.provider, row.symbol]);
    const before = this.#symbols.get(key);
    if (before !== undefined && row.tsUs <= before.tsUs) {
      const symbol = printable(`${row.provider} ${row.symbol}`);
      throw new InputError(
        `${this.#options.input}: the row of ${symbol} at ${formatMicros(row.tsUs)} follows one of ${formatMicros(before.tsUs)}: rows must be in order of time, each once`,
      );
    }
    const { fired, held, failed } = this.#rules.evaluate(row, before?.held ?? []);
    this.#symbols.set(key, { tsUs: row.tsUs, held });
    if (this.#rows === 0) this.#begin();
    this.#rows += 1;
    for (const rule of this.#rules.rules) if (this.#isCold(rule, row)) this.#count(rule).cold += 1;
    for (const rule of failed) this.#count(rule).failed += 1;
    for (const rule of fired) {
      this.#count(rule).fired += 1;
      this.#say(rule, row);
    }
  }

  #say({ name, variables, signal, score }: Rule, row: FeatureRow): void {
    const { provider, symbol, price } = row;
    const ts = formatMicros(row.tsUs);
    if (this.#options.json === true) {
      const fields = { ts, provider, symbol, name, value: signal, score, price };
      this.#print(`${this.#signals > 0 ? ',' : ''}${JSON.stringify(fields)}`);
    } else {
      const because = variables.map((variable) => `${variable} ${this.#valueOf(variable, row)}`).join(', ');
      this.#print(
        `${ts} ${printable(provider)} ${printable(symbol)} ${name}: signal ${signal}, score ${score ?? 'none'}; ${because}`,
      );
    }
    this.#signals += 1;
  }

  #begin(): void {
    if (this.#options.json === true) this.#print(`{"file":${JSON.stringify(this.#file)},"signals":[`);
  }

  #endText(): void {
    const columns = [
      { title: 'rule', align: 'left' },
      { title: 'mode', align: 'left' },
      { title: 'fired', align: 'right' },
      { title: 'cold rows', align: 'right' },
      { title: 'failed rows', align: 'right' },
    ] as const;
    const rows = this.#rules.rules.map((rule) => {
      const { fired, cold, failed } = this.#count(rule);
      return [rule.name, rule.mode, String(fired), String(cold), String(failed)];
    });
    for (const line of tableLines(columns, rows)) this.#print(line);
    this.#print(`${this.#signals} signal(s) from ${this.#rows} row(s) by ${this.#file}`);
  }

  #endJson(): void {
    if (this.#rows === 0) this.#begin();
    const rules = this.#rules.rules.map((rule) => ({
      name: rule.name,
      mode: rule.mode,
      ...this.#count(rule),
    }));
    this.#print(`],"rows":${this.#rows},"rules":${JSON.stringify(rules)}}`);
  }

  #isCold({ variables }: Rule, row: FeatureRow): boolean {
    return variables.some((name) => !Number.isFinite(this.#valueOf(name, row)));
  }

  #valueOf(variable: string, { values, price }: FeatureRow): number {
    const at = this.#features.indexOf(variable);
    return at < 0 ? price : values[at];
  }

  #count({ name }: Rule): Counts {
    const counts = this.#counts.get(name);
    if (counts === undefined) throw new Error(`rule ${name} is not counted`);
    return counts;
  }
}
