import type { Random } from '../support/random.ts';

/** Where a scenario happens: the same one runs small in the tests and at full size in `make prove-ingest`. */
export interface ScenarioContext {
  /** URL of a database of its own, with the schema */
  database(): Promise<string>;
  random: Random;
  /** progress, for people */
  say(text: string): void;
}

/** What a scenario measured, in words and numbers for the table; it throws when something does not hold. */
export type Figures = Record<string, string | number>;

/** Thrown by a scenario that this machine does not allow; its message says why. */
export class Skipped extends Error {}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
