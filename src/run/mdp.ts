import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { systemClock } from '../core/time.ts';
import { exitCodeOf } from './cli/arguments.ts';
import { registerBars } from './cli/bars/rebuild.ts';
import { registerConfig } from './cli/config.ts';
import { registerDb } from './cli/db.ts';
import { registerDlq } from './cli/dlq/dlq.ts';
import { registerExport } from './cli/export/export.ts';
import { registerImport } from './cli/import/import.ts';
import { registerLive } from './cli/live.ts';
import { registerModels } from './cli/models/models.ts';
import { registerReplay } from './cli/replay/replay.ts';
import { registerQuality } from './cli/chain/quality.ts';
import { registerRules } from './cli/rules/rules.ts';
import { registerServe } from './cli/serve.ts';
import { registerStream } from './cli/stream/stream.ts';
import { registerTokens } from './cli/tokens/tokens.ts';
import { databaseUrlOf } from './config/addresses.ts';
import { ConfigError, readSetting } from './config/load.ts';
import { EXIT_USAGE } from './exit-codes.ts';
import { endOnSignalsAsFirst } from './signals.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

endOnSignalsAsFirst();
// `mdp … | head` closes our stdout: a normal end
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const program = new Command('mdp')
  .description('mdp, the Market Data Pipeline: operations around the tick-ingester')
  .version(version)
  .exitOverride((error) => process.exit(exitCodeOf(error)));
try {
  // checked when a command needs it: the others work whatever the variables hold
  const environment = {
    get databaseUrl(): string | undefined {
      return databaseUrlOf(readSetting('database'));
    },
    get readDatabaseUrl(): string | undefined {
      return readSetting('readDatabaseUrl') ?? undefined;
    },
    tickBytesMax: () => readSetting('tickMaxBytes'),
    clock: systemClock,
  };
  const reading = {
    get databaseUrl(): string | undefined {
      return readSetting('readDatabaseUrl') ?? environment.databaseUrl;
    },
    get jobsDatabaseUrl(): string | undefined {
      return environment.databaseUrl;
    },
    clock: systemClock,
  };
  registerDb(program, environment);
  registerDlq(program, environment);
  registerQuality(program, reading);
  registerBars(program, environment);
  registerExport(program, reading);
  registerImport(program, environment);
  registerConfig(program);
  registerRules(program);
  registerModels(program);
  registerStream(program, environment);
  registerReplay(program, environment);
  registerServe(program, environment);
  registerLive(program);
  registerTokens(program, environment);
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = EXIT_USAGE;
}
