/** Bits that hold every number from 0 to `max`; 0 where there is nothing to tell apart. */
export function bitWidth(max: number): number {
  return max <= 0 ? 0 : 32 - Math.clz32(max);
}

/** Numbers of `width` bits one after the other, the lowest bit first; whole groups of eight. */
export function packCodes(codes: Int32Array, width: number): Uint8Array {
  const groups = (codes.length + 7) >> 3;
  const packed = new Uint8Array(groups * width);
  let byte = 0;
  let bits = 0;
  let at = 0;
  for (const code of codes) {
    // below 2^24: at most 7 bits wait, and a code has 16 (WORDS_MAX)
    byte |= code << bits;
    bits += width;
    while (bits >= 8) {
      packed[at] = byte & 0xff;
      at += 1;
      byte >>>= 8;
      bits -= 8;
    }
  }
  if (bits > 0) packed[at] = byte;
  return packed;
}
