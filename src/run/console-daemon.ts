import { ConsoleIngester, type ConsoleHost } from '../ingest/console.ts';
import type { Config } from './config/load.ts';
import { ConsoleTelemetry } from './telemetry/console-telemetry.ts';
import { startHealthServer } from './telemetry/http.ts';
import type { Log } from './telemetry/log.ts';
import { readerSetup, ringLimits } from './reader-options.ts';
import type { Signals } from './signals.ts';

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
  // `tick-ingester | head` closes our stdout: that is an end like a signal
  const closed = new Promise<string>((resolve) => {
    process.stdout.on('error', () => resolve('stdout closed'));
  });
  const host: ConsoleHost = {
    print: (text) =>
      new Promise((resolve) => {
        if (process.stdout.write(text)) resolve();
        else process.stdout.once('drain', resolve);
      }),
    printed: (ticks) => telemetry.printed(ticks),
    refused: (error, near) => {
      telemetry.refused();
      log.warn({ error, near_tick: near.toString() }, 'A frame that is no tick');
    },
    log: (level, message, fields) => log[level](fields, message),
    threadStats: (thread, stats) => telemetry.threadStats(thread, stats),
    readerStats: (stats) => telemetry.readerStats(stats),
  };
  const ingester = new ConsoleIngester(
    {
      format: config.outputFormat,
      startTick: config.startTick,
      ring: ringLimits(config),
      reader: readerSetup(config, 2, BACKOFF),
    },
    host,
  );
  telemetry.attach(ingester);
  ingester.start();
  const ended = await Promise.race([signals.first, closed]);
  log.info({ reason: ended }, 'Shutting down');
  if (ended !== 'stdout closed') await ingester.stop();
  await server.close();
  return 0;
}
