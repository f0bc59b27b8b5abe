import { systemClock, type Clock } from './time.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A line of the log. `fields` are named as operators see them (snake_case); an Error goes under `err`. */
export type LogLine = (level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>) => void;

/** What every service is handed instead of reaching for it: where to log, what time it is, and chance. */
export interface Env {
  readonly log: LogLine;
  readonly clock: Clock;
  /** in [0, 1), as Math.random: jitter of retries, never content */
  readonly random: () => number;
}

/** What is left out: no log, the machine's clock, Math.random. */
export function envOf(given: Partial<Env> = {}): Env {
  return { log: () => {}, clock: systemClock, random: Math.random, ...given };
}
