import type { Command } from 'commander';
import { ConfigError } from '../config/load.ts';
import { createRedactor } from '../config/redact.ts';
import { readStreamingConfig, streamingConfigPath } from '../config/streaming/load.ts';
import { YamlError } from '../config/streaming/yaml.ts';
import { EXIT_FAILED } from '../exit-codes.ts';
import { printOf } from './text.ts';

/** `mdp config check`: is streaming.yaml valid, and what does it say with variables and defaults filled in? */
export function registerConfig(program: Command): void {
  program
    .command('config')
    .description('the configuration of everything on the bus (configs/streaming.yaml)')
    .command('check')
    .description('read the file with its variables and defaults, and say every mistake with its line')
    .option('--config <file>', 'the file (default: STREAMING_CONFIG, or configs/streaming.yaml)')
    .option('--json', 'the values in effect as one JSON object: durations in ms, sizes in bytes')
    .addHelpText('after', HELP)
    .action((options: { config?: string; json?: true }, command: Command) => {
      const print = printOf(command);
      const file = options.config ?? streamingConfigPath();
      try {
        const config = readStreamingConfig(file);
        const redact = createRedactor();
        if (options.json === true) print(redact(JSON.stringify(config)));
        else print(`${file} is right: bus ${config.bus.type}, ${config.bus.partitions} partition(s)`);
      } catch (error) {
        if (!(error instanceof YamlError || error instanceof ConfigError)) throw error;
        command.error(error.message, { exitCode: EXIT_FAILED });
      }
    });
}

const HELP = `
Example:
  $ mdp config check --config configs/streaming.yaml

\${NAME} and \${NAME:-default} stand for variables of the environment or of .env.ingester. A key that is not known is a
mistake: a misspelt one would otherwise silently have its default.
Exit codes: 0 right, 1 mistakes, 2 a mistake in the command line.`;
