/** 2^19 keys a half, in a table that is at most half full */
const HALF_KEYS = 2 ** 19;

interface Half {
  high: Uint32Array;
  low: Uint32Array;
  count: number;
}

/**
 * The keys of the newest events, at least `halfKeys` and at most twice as many, as 64 bits of a hash each: of a million
 * remembered keys a new one equals another by chance once in 10^13. When a half is full the older one is forgotten.
 */
export class RecentKeys {
  readonly #halfKeys: number;
  readonly #slots: number;
  readonly #seed: number;
  readonly #onForgotten: () => void;
  #newer: Half;
  #older: Half;
  #high = 0;
  #low = 0;

  /**
   * @param seed a random number, so that nobody can choose keys that collide
   * @param onForgotten called whenever the older half is forgotten
   */
  constructor(seed: number, onForgotten: () => void = () => {}, halfKeys = HALF_KEYS) {
    this.#halfKeys = halfKeys;
    this.#slots = 2 ** Math.ceil(Math.log2(halfKeys * 2));
    this.#seed = seed;
    this.#onForgotten = onForgotten;
    this.#newer = this.#empty();
    this.#older = this.#empty();
  }

  has(key: string): boolean {
    this.#hash(key);
    return this.#isIn(this.#newer) || this.#isIn(this.#older);
  }

  /** For a key that it does not have. */
  add(key: string): void {
    this.#hash(key);
    if (this.#newer.count === this.#halfKeys) {
      this.#older = this.#newer;
      this.#newer = this.#empty();
      this.#onForgotten();
    }
    const half = this.#newer;
    let slot = this.#low & (this.#slots - 1);
    while (half.high[slot] !== 0 || half.low[slot] !== 0) slot = (slot + 1) & (this.#slots - 1);
    half.high[slot] = this.#high;
    half.low[slot] = this.#low;
    half.count += 1;
  }

  #isIn({ high, low }: Half): boolean {
    let slot = this.#low & (this.#slots - 1);
    while (high[slot] !== 0 || low[slot] !== 0) {
      if (high[slot] === this.#high && low[slot] === this.#low) return true;
      slot = (slot + 1) & (this.#slots - 1);
    }
    return false;
  }

  #empty(): Half {
    return { high: new Uint32Array(this.#slots), low: new Uint32Array(this.#slots), count: 0 };
  }

  /** Two runs of murmur's mixing over the text, with different constants; 0|0 stands for an empty slot. */
  #hash(key: string): void {
    let one = 0xdeadbeef ^ this.#seed;
    let two = 0x41c6ce57 ^ Math.imul(this.#seed, 0x9e3779b1);
    for (let at = 0; at < key.length; at++) {
      const code = key.charCodeAt(at);
      one = Math.imul(one ^ code, 2_654_435_761);
      two = Math.imul(two ^ code, 1_597_334_677);
    }
    one = Math.imul(one ^ (one >>> 16), 2_246_822_507) ^ Math.imul(two ^ (two >>> 13), 3_266_489_909);
    two = Math.imul(two ^ (two >>> 16), 2_246_822_507) ^ Math.imul(one ^ (one >>> 13), 3_266_489_909);
    this.#high = two >>> 0;
    this.#low = one >>> 0;
    if (this.#high === 0 && this.#low === 0) this.#low = 1;
  }
}
