import { systemClock, type Clock } from './time.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes a log line. `fields` are named as operators see them (snake_case); an Error goes under `err`. */
export type LogLine = (level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>) => void;

/** Passed to every service instead of using globals: logging, time and randomness. */
export interface Env {
  readonly log: LogLine;
  readonly clock: Clock;
  /** in [0, 1), like Math.random; for retry jitter, never for content */
  readonly random: () => number;
}

/** Fills in the defaults: no log, the machine's clock, Math.random. */
export function envOf(given: Partial<Env> = {}): Env {
  return { log: () => {}, clock: systemClock, random: Math.random, ...given };
}
