import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { systemClock } from '../core/time.ts';
import { registerDecisions } from './cli/chain/skip-resume.ts';
import { registerRaiseFloor } from './cli/chain/raise-floor.ts';
import { registerStatus } from './cli/chain/status.ts';
import { registerVerify } from './cli/chain/verify.ts';
import { databaseUrlOf } from './config/addresses.ts';
import { ConfigError, loadConfig, readSetting, type Config } from './config/load.ts';
import { configSecrets } from './config/describe.ts';
import { runConsole } from './console-daemon.ts';
import { runDaemon } from './daemon.ts';
import { EXIT_FAILED, EXIT_SIGINT, EXIT_SIGTERM, EXIT_USAGE } from './exit-codes.ts';
import { StartError } from './preflight.ts';
import { PortError } from './telemetry/http.ts';
import { createLog, errorText, logOptions } from './telemetry/log.ts';
import { createRedactor } from './config/redact.ts';
import { compressionRules } from './upkeep/compression.ts';
import { retentionRules, reviseHorizonMs } from './upkeep/retention.ts';
import { endOnSignalsAsFirst, watchSignals } from './signals.ts';
import { readApiSettings } from './api/settings.ts';
import { busStages } from './config/stages.ts';
import { readStreamingConfig } from './config/streaming/load.ts';
import { YamlError } from './config/streaming/yaml.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

endOnSignalsAsFirst();
const program = new Command('tick-ingester')
  .description(
    'Takes the ticks of a Continuum sequencer into PostgreSQL/TimescaleDB: nothing lost, nothing twice.\n' +
      'Configured by environment variables and .env.ingester alone; README.md lists them all.',
  )
  .version(version)
  .option(
    '--ignore-watermark',
    'begin at START_TICK (0 = latest) although a position exists; what lies between becomes a gap of state\n"skipped". A START_TICK at or below the position is refused',
    false,
  )
  .addHelpText(
    'after',
    `
Examples:
  CONTINUUM_GRPC_URL=localhost:50051 DATABASE_URL=postgres://user:pass@localhost/db tick-ingester
  OUTPUT_MODE=console OUTPUT_FORMAT=table CONTINUUM_GRPC_URL=localhost:50051 tick-ingester

Exit codes: 0 stopped cleanly, 1 failed, 2 a mistake in the configuration.`,
  )
  .action((options: { ignoreWatermark: boolean }) => run(options.ignoreWatermark));

registerStatus(program, () => withConfig((config) => config));
registerDecisions(program, () => withConfig((config) => config));
registerRaiseFloor(program, () => withConfig((config) => config));
registerVerify(program, () => ({
  databaseUrl: orExit(() => readSetting('readDatabaseUrl') ?? databaseUrlOf(readSetting('database'))),
  serviceName: orExit(() => readSetting('serviceName')),
}));
await program.parseAsync();

async function run(ignorePosition: boolean): Promise<void> {
  const config = withConfig((loaded) => loaded);
  const streaming = busStages(config.stages).length === 0 ? null : orExit(() => readStreamingConfig());
  const api = config.stages.includes('api') ? orExit(readApiSettings) : null;
  const horizonMs = (): number => reviseHorizonMs(streaming ?? readStreamingConfig());
  const retention = orExit(() => retentionRules(config, horizonMs));
  const compression = orExit(() => compressionRules(config, horizonMs));
  const log = createLog(logOptions(config, systemClock));
  const signals = watchSignals({
    second: (signal) => {
      log.fatal({ signal }, 'Second signal: ending at once');
      process.exit(signal === 'SIGINT' ? EXIT_SIGINT : EXIT_SIGTERM);
    },
    ignored: (signal) => log.warn({ signal }, 'Signal ignored'),
  });
  try {
    process.exitCode =
      config.outputMode === 'console'
        ? await runConsole(config, log, signals)
        : await runDaemon({ config, streaming, api, ignorePosition, retention, compression, log, signals });
  } catch (error) {
    if (error instanceof PortError || error instanceof StartError) log.fatal(error.message);
    else log.fatal({ err: error }, 'The daemon failed');
    process.exitCode = EXIT_FAILED;
  }
  // sockets of grpc-js or a pool that will not close must not keep a stopped daemon alive
  process.exit();
}

function withConfig<T>(use: (config: Config) => T): T {
  return orExit(() => {
    const config = loadConfig();
    process.on('uncaughtException', (error) => crash(error, config));
    return use(config);
  });
}

function orExit<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof YamlError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_USAGE);
  }
}

/** A broken invariant ends the process; what was not committed is read again. */
function crash(error: unknown, config: Config): never {
  process.stderr.write(`tick-ingester: ${errorText(error, createRedactor(configSecrets(config)))}\n`);
  if (error instanceof Error)
    process.stderr.write(`${createRedactor(configSecrets(config))(error.stack ?? '')}\n`);
  process.exit(EXIT_FAILED);
}
