import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PATH = fileURLToPath(new URL('../../../../../shared/data/continuum-ticks.jsonl', import.meta.url));

/**
 * Three ticks of the real chain, one line of proto3-JSON each. They lie beside a clone of some people and are no part of this
 * repository: tests of them are extra, and WITHOUT_SHARED=1 leaves them out where the file is there (scripts/test.ts).
 */
export const realTicks: {
  readonly path: string;
  /** tap's option: false, or REAL_TICKS_ABSENT */
  readonly skip: false | string;
} = {
  path: PATH,
  get skip() {
    return process.env['WITHOUT_SHARED'] !== '1' && existsSync(PATH) ? false : REAL_TICKS_ABSENT;
  },
};

export const REAL_TICKS_ABSENT =
  'the real ticks, ../shared/data/continuum-ticks.jsonl, are no part of this repository';
