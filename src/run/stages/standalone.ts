import { isatty } from 'node:tty';
import { systemClock } from '../../core/time.ts';
import type { Stage } from '../../stream/stage.ts';
import { readVariable } from '../config/load.ts';
import { EXIT_SIGINT } from '../exit-codes.ts';
import { startMetricsServer } from '../telemetry/http.ts';
import { createLog, loggingEnv, type Log } from '../telemetry/log.ts';
import { LogSink, logLosses } from '../telemetry/log/sink.ts';
import { createRedactor } from '../config/redact.ts';
import { watchSignals } from '../signals.ts';
import { StageMetrics } from '../telemetry/stage-metrics.ts';
import type { StageHost } from './connected-stage.ts';
import { knownProviders, type StreamingConfig } from '../config/streaming/load.ts';

export interface RoleOptions {
  streaming: StreamingConfig;
  /** a label in logs */
  service: string;
  /** null: telemetry.metrics_port of the configuration */
  metricsPort: number | null;
  /** what no log line may hold */
  secrets?: readonly string[];
}

/** A stage may have threads beside it, whose metrics are served with its own. */
export interface RoleHost extends StageHost {
  meter: StageMetrics;
}

const STDOUT = 1;

/**
 * One stage as its own program, on the main thread: log lines on stdout, metrics on a port, a clean shutdown on SIGTERM, SIGINT
 * or SIGHUP; a second signal ends it at once. Rejects with the error that ended the stage.
 */
export async function runRole(options: RoleOptions, make: (host: RoleHost) => Stage): Promise<void> {
  const log = roleLog(options);
  const metrics = new StageMetrics(knownProviders(options.streaming));
  const signals = watchSignals({
    second: () => process.exit(EXIT_SIGINT),
    ignored: (signal) => log.warn({ signal }, 'Signal ignored'),
  });
  const server = await startMetricsServer({
    port: options.metricsPort ?? options.streaming.telemetry.metrics_port,
    metrics: () => {
      metrics.countTotal('log_lines_dropped_total', {}, 'log', logLosses.lines);
      return metrics.render();
    },
    onError: (err) => log.error({ err }, 'The metrics failed'),
  }).catch((error: Error) => {
    // failing telemetry must not stop data
    log.warn(`${error.message} (metrics are not served)`);
    return null;
  });
  if (server !== null) log.info({ port: server.port }, 'Metrics are served');
  const stage = make({ env: loggingEnv(log), meter: metrics });
  try {
    await stage.start();
    await Promise.race([stage.done, signals.first]);
    await stage.stop();
    await stage.done;
  } finally {
    await server?.close();
  }
}

function roleLog({ service, streaming, secrets }: RoleOptions): Log {
  const isProduction = readVariable('ENV') === 'production';
  return createLog({
    service,
    level: streaming.telemetry.log_level,
    format: isProduction ? 'json' : 'pretty',
    color: isatty(STDOUT),
    clock: systemClock,
    redact: createRedactor(secrets),
    destination: new LogSink(STDOUT),
  });
}
