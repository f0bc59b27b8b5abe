import { ConsoleIngester } from '../ingest/console.ts';
import type { Config } from './config/load.ts';
import { ConsoleTelemetry } from './telemetry/console-telemetry.ts';
import { startHealthServer } from './telemetry/http.ts';
import { loggingEnv, type Log } from './telemetry/log.ts';
import type { Signals } from './signals.ts';
import { readerSetup, ringLimits } from './ingest-setup.ts';

const BACKOFF = { firstMs: 200, maxMs: 5_000 };

/** OUTPUT_MODE=console: ticks to stdout, logs to stderr, no database. Resolves with the exit code. */
export async function runConsole(config: Config, log: Log, signals: Signals): Promise<number> {
  for (const warning of config.warnings) log.warn(warning);
  const telemetry = new ConsoleTelemetry(config);
  const server = await startHealthServer({
    port: config.healthCheckPort,
    probe: telemetry,
    onError: (err) => log.error({ err }, 'A health probe failed'),
  });
  log.info({ port: server.port, format: config.outputFormat }, 'Printing ticks to stdout');
  // `tick-ingester | head` closes our stdout: treated like a signal
  const closed = new Promise<string>((resolve) => {
    process.stdout.on('error', () => resolve('stdout closed'));
  });
  const ingester = new ConsoleIngester({
    env: loggingEnv(log),
    observer: telemetry,
    format: config.outputFormat,
    startTick: config.startTick,
    ring: ringLimits(config),
    reader: readerSetup(config, 2, BACKOFF),
    print: (text) =>
      new Promise((resolve) => {
        if (process.stdout.write(text)) resolve();
        else process.stdout.once('drain', resolve);
      }),
  });
  telemetry.attach(ingester);
  ingester.start();
  const ended = await Promise.race([signals.first, closed]);
  log.info({ reason: ended }, 'Shutting down');
  if (ended !== 'stdout closed') await ingester.stop();
  await server.close();
  return 0;
}
