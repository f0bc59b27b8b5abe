import type { Command } from 'commander';
import { featureSet } from '../../core/feature/catalogue.ts';
import { ModelError } from '../../stream/inference/model/file.ts';
import { RulesError } from '../../stream/inference/rules/mistakes.ts';
import { readRules } from '../../stream/inference/rules/rules-file.ts';
import { ConfigError } from '../config/load.ts';
import { createRedactor } from '../config/redact.ts';
import { featureSettings } from '../config/streaming/feature-keys.ts';
import { readStreamingConfig, streamingConfigPath, type StreamingConfig } from '../config/streaming/load.ts';
import { YamlError } from '../config/streaming/yaml.ts';
import { EXIT_FAILED } from '../exit-codes.ts';
import { checkModels } from './models/check.ts';
import { printOf } from './text.ts';

/** `mdp config check`: is streaming.yaml valid, and what does it say with variables and defaults filled in? */
export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('the configuration of everything on the bus (configs/streaming.yaml)')
    .command('check')
    .description(
      'read the file with its variables and defaults, and the rules that it names, say every mistake with its line, and load the models that it enables',
    )
    .option('--config <file>', 'the file (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'the values in effect as one JSON object: durations in ms, sizes in bytes')
    .addHelpText('after', HELP)
    .action(async (options: { config?: string; json?: true }, command: Command) => {
      const print = printOf(command);
      const file = options.config ?? streamingConfigPath();
      try {
        const config = readStreamingConfig(file);
        const features = featureSet(featureSettings(config.features)).names;
        const lines = [...(await checkRules(config, features)), ...(await checkModels(config, features))];
        const redact = createRedactor();
        if (options.json === true) print(redact(JSON.stringify(config)));
        else {
          print(`${file} is right: bus ${config.bus.type}, ${config.bus.partitions} partition(s)`);
          for (const line of lines) print(line);
        }
      } catch (error) {
        const isMistake =
          error instanceof YamlError ||
          error instanceof ConfigError ||
          error instanceof RulesError ||
          error instanceof ModelError;
        if (!isMistake) throw error;
        command.error(error.message, { exitCode: EXIT_FAILED });
      }
    });
}

/** A line, or none where rules are switched off. @throws RulesError */
async function checkRules({ inference }: StreamingConfig, features: readonly string[]): Promise<string[]> {
  const { enabled, file } = inference.adapters.rules;
  if (!enabled) return [];
  const { rules } = await readRules(file, features);
  return [`${file} is right: ${rules.length} rule(s)`];
}

const HELP = `
Example:
  $ mdp config check --config configs/streaming.yaml

\${NAME} and \${NAME:-default} stand for variables of the environment or of .env.ingester. A key that is not known is a
mistake: a misspelt one would otherwise silently have its default. The file of rules (inference.adapters.rules.file) is read as well
unless rules are switched off; its mistakes have a line and a column.
Exit codes: 0 right, 1 mistakes, 2 a mistake in the command line.`;
