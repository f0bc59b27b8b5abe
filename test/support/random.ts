import { randomBytes } from 'node:crypto';

/** Random choices that can be made again: SEED=<u32> repeats a run. */
export interface Random {
  /** to be printed by whoever draws from it */
  readonly seed: number;
  /** in [0, 1) */
  next(): number;
  /** a whole number in [least, most] */
  whole(least: number, most: number): number;
  pick<T>(choices: readonly T[]): T;
  /** true so often of 100 times */
  percent(share: number): boolean;
  /** For draws whose moments nobody can repeat: they leave those of this one alone. */
  fork(): Random;
}

const GOLDEN = 0x9e37_79b9;

/** Numbers from SEED, or from a seed of its own making when that is not set. */
export function seededRandom(): Random {
  const given = process.env['SEED'];
  return randomFrom(
    given === undefined || given === '' ? randomBytes(4).readUInt32LE() : Number(given) >>> 0,
  );
}

function randomFrom(seed: number): Random {
  let state = seed;
  const next = (): number => {
    // splitmix32
    state = (state + GOLDEN) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0_aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a_2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
  const whole = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    seed,
    next,
    whole,
    pick: (choices) => choices[whole(0, choices.length - 1)],
    percent: (share) => next() * 100 < share,
    fork: () => randomFrom(whole(0, 2 ** 32 - 1)),
  };
}
