import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { systemClock } from '../core/time.ts';
import { exitCodeOf } from './cli/arguments.ts';
import { registerBars } from './cli/bars/rebuild.ts';
import { registerConfig } from './cli/config.ts';
import { registerDb } from './cli/db.ts';
import { registerDlq } from './cli/dlq/dlq.ts';
import { registerExport } from './cli/export/features.ts';
import { registerQuality } from './cli/chain/quality.ts';
import { registerRules } from './cli/rules/rules.ts';
import { registerStream } from './cli/stream/stream.ts';
import { ConfigError, readSetting, readVariable } from './config/load.ts';
import { EXIT_USAGE } from './exit-codes.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

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
  const databaseUrl = readVariable('DATABASE_URL') ?? undefined;
  const readDatabaseUrl = readVariable('READ_DATABASE_URL') ?? undefined;
  registerDb(program, { databaseUrl });
  registerDlq(program, { databaseUrl, tickBytesMax: () => readSetting('tickMaxBytes'), clock: systemClock });
  registerQuality(program, { databaseUrl: readDatabaseUrl ?? databaseUrl, clock: systemClock });
  registerBars(program, { databaseUrl, clock: systemClock });
  registerExport(program, { databaseUrl: readDatabaseUrl ?? databaseUrl, clock: systemClock });
  registerConfig(program);
  registerRules(program);
  registerStream(program, { databaseUrl });
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = EXIT_USAGE;
}
