/** Log lines: JSON in production, for people elsewhere. Written synchronously, so that none is lost at exit. */
import { isatty } from 'node:tty';
import { type DestinationStream, destination, type Level, type Logger, type LoggerOptions, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { envOf, type Env } from '../../core/env.ts';
import { type Clock, formatMicros } from '../../core/time.ts';
import type { Config } from '../config/load.ts';
import { configSecrets } from '../config/describe.ts';
import { createRedactor, type Redact } from '../config/redact.ts';

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
 * an Error. No line holds a secret: the redactor sees each one whole, just before it is written.
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
    serializers: { err: (error: unknown) => serializeError(error, withStack) },
    hooks: { streamWrite: redact },
  };
  return pino(settings, options.format === 'json' ? options.destination : prettyStream(options));
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
    destination: destination({ fd, sync: true }),
  };
}

/** The environment of services in a daemon that logs to `log`. */
export function loggingEnv(log: Log): Env {
  return envOf({ log: (level, message, fields) => log[level](fields, message) });
}

/** One line about an error for a terminal or a reply: its message and code, never its stack. */
export function errorText(error: unknown, redact: Redact): string {
  const { message, code } = serializeError(error, false);
  const known = code === undefined || message.includes(String(code));
  return redact(known ? message : `${message} (${code})`);
}

interface SerializedError {
  type: string;
  message: string;
  /** SQLSTATE, gRPC status or errno name */
  code?: string | number;
  constraint?: string;
  cause?: string;
  stack?: string;
}

function serializeError(error: unknown, withStack: boolean): SerializedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const serialized: SerializedError = { type: error.name, message: messageOf(error) };
  const code = 'code' in error ? error.code : undefined;
  if (typeof code === 'string' || typeof code === 'number') serialized.code = code;
  if ('constraint' in error && typeof error.constraint === 'string') serialized.constraint = error.constraint;
  if (error.cause !== undefined) serialized.cause = serializeError(error.cause, false).message;
  if (withStack && error.stack !== undefined) serialized.stack = error.stack;
  return serialized;
}

/** A refused connection to a name with several addresses has an empty message and its reasons inside. */
function messageOf(error: Error): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors
      .map((inner: unknown) => (inner instanceof Error ? inner.message : String(inner)))
      .join('; ');
  }
  return error.message;
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
