/** Log lines: JSON in production, for people elsewhere. */
import { isatty } from 'node:tty';
import { type DestinationStream, type Level, type Logger, type LoggerOptions, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { envOf, type Env } from '../../core/env.ts';
import { type Clock, formatMicros } from '../../core/time.ts';
import type { Config } from '../config/load.ts';
import { configSecrets } from '../config/describe.ts';
import { createRedactor, type Redact } from '../config/redact.ts';
import { LogSink } from './log/sink.ts';
import { serializeError, type SerializedError } from './log/serialized-error.ts';

export type Log = Logger;

const STDOUT = 1;
const STDERR = 2;

export interface LogOptions {
  service: string;
  level: Level;
  format: 'json' | 'pretty';
  color: boolean;
  clock: Clock;
  redact: Redact;
  destination: DestinationStream;
}

/**
 * Keys of a line: level (a word), timestamp (ISO-8601, six decimals), service, the caller's fields, msg. `err` takes
 * an Error, or one that was serialized in another thread. No line holds a secret: the redactor sees each one whole, just before it is written.
 */
export function createLog(options: LogOptions): Log {
  const { clock, redact } = options;
  const withStack = options.level === 'debug' || options.level === 'trace';
  const settings: LoggerOptions = {
    level: options.level,
    base: { service: options.service },
    messageKey: 'msg',
    errorKey: 'err',
    timestamp: () => `,"timestamp":"${formatMicros(clock.nowMicros())}"`,
    formatters: { level: (word) => ({ level: word }) },
    serializers: { err: (error: unknown) => lineOf(error, withStack) },
    hooks: { streamWrite: redact },
  };
  const { destination } = options;
  const log = pino(settings, options.format === 'json' ? destination : prettyStream(options));
  if (destination instanceof LogSink) {
    destination.onRecovered = (lines, code): void =>
      log.warn({ lines, reason: code }, 'Log lines were dropped: their destination did not take them');
  }
  return log;
}

/** What the daemon logs to: stdout, or stderr where stdout carries ticks. */
export function logOptions(config: Config, clock: Clock): LogOptions {
  const fd = config.outputMode === 'console' ? STDERR : STDOUT;
  return {
    service: config.serviceName,
    level: config.logLevel,
    format: config.environment === 'production' ? 'json' : 'pretty',
    color: isatty(fd) && !config.noColor,
    clock,
    redact: createRedactor(configSecrets(config)),
    destination: new LogSink(fd),
  };
}

/** The environment of services in a daemon that logs to `log`. */
export function loggingEnv(log: Log): Env {
  return envOf({ log: (level, message, fields) => log[level](fields, message) });
}

/** One line about an error for a terminal or a reply: its message and code, never its stack. */
export function errorText(error: unknown, redact: Redact): string {
  const { message, code } = serializeError(error);
  const known = code === undefined || message.includes(String(code));
  return redact(known ? message : `${message} (${code})`);
}

function lineOf(error: unknown, withStack: boolean): SerializedError {
  const { stack, ...short } = serializeError(error);
  return withStack && stack !== undefined ? { ...short, stack } : short;
}

function prettyStream({ color, destination }: LogOptions): DestinationStream {
  const prettify = prettyFactory({
    colorize: color,
    timestampKey: 'timestamp',
    translateTime: 'UTC:yyyy-mm-dd HH:MM:ss.l',
    ignore: 'service',
    singleLine: true,
    // A line break in untrusted text must not start what looks like a line of ours.
    messageFormat: (line, key) =>
      JSON.stringify(line[key] ?? '')
        .slice(1, -1)
        .replaceAll(String.raw`\"`, '"'),
  });
  return { write: (line) => destination.write(prettify(line)) };
}
