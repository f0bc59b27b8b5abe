/**
 * Seeded pseudo-random numbers: sfc32 by Chris Doty-Humphrey. It uses integer arithmetic only, and the distributions here
 * only + - * / and comparisons, which IEEE 754 rounds the same everywhere: no logarithm or cosine, whose last digit may
 * differ between engines.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Any text; equal texts give equal numbers. */
  constructor(seed: string) {
    // three words by FNV-1a from different starts, mixed by the rounds below
    [this.#a, this.#b, this.#c] = [0x811c_9dc5, 0x9e37_79b9, 0x85eb_ca6b].map((start) => {
      let hash = start | 0;
      for (let at = 0; at < seed.length; at += 1) hash = Math.imul(hash ^ seed.charCodeAt(at), 0x0100_0193);
      return hash;
    });
    for (let round = 0; round < 15; round += 1) this.word();
  }

  /** 32 bits, signed */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum;
  }

  /** in [0, 1), in steps of 2^−32 */
  unit(): number {
    return (this.word() >>> 0) / 2 ** 32;
  }

  /** a whole number in [0, below) */
  below(below: number): number {
    return Math.floor(this.unit() * below);
  }

  /** Mean 0 and variance 1, nearly normal: the sum of four uniform numbers; never beyond ±3.47. */
  normal(): number {
    return (this.unit() + this.unit() + this.unit() + this.unit() - 2) * SQRT_3;
  }

  /** Exponentially distributed with mean 1, using comparisons only (von Neumann 1951). */
  exponential(): number {
    for (let whole = 0; ; whole += 1) {
      const first = this.unit();
      let last = first;
      let falling = 1;
      for (let next = this.unit(); next < last; next = this.unit()) {
        last = next;
        falling += 1;
      }
      if (falling % 2 === 1) return whole + first;
    }
  }
}

const SQRT_3 = 1.732_050_807_568_877_2;
