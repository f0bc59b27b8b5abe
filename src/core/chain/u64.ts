/** A u64 as two uint32 words (hi, lo): exact over its whole range, and nothing is allocated for it. */

export function hiWord(value: bigint): number {
  return Number(BigInt.asUintN(64, value) >> 32n);
}

export function loWord(value: bigint): number {
  return Number(BigInt.asUintN(32, value));
}

export function joinWords(hi: number, lo: number): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo);
}

/** The u64 whose upper word is words[at]; the lower one follows. */
export function u64At(words: Uint32Array, at: number): bigint {
  return joinWords(words[at], words[at + 1]);
}
