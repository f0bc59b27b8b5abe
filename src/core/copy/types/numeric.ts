/** Maximum size of a u64 as a binary numeric: four int16 of header and five base-10,000 digits. */
export const NUMERIC_U64_BYTES_MAX = 18;

const BASE = 10_000;

const digits = new Int32Array(5);

/**
 * Writes a u64 as PostgreSQL's binary numeric (ndigits, weight, sign, dscale, digits of base 10,000, without leading
 * and trailing zeros) at `at`, where the view must have NUMERIC_U64_BYTES_MAX bytes left. Returns the position after it.
 */
export function writeNumericU64(view: DataView, at: number, hi: number, lo: number): number {
  // schoolbook division by BASE in limbs of 16 bits: each step stays below 2^31
  let a = hi >>> 16;
  let b = hi & 0xffff;
  let c = lo >>> 16;
  let d = lo & 0xffff;
  let count = 0;
  while ((a | b | c | d) !== 0) {
    let quotient = (a / BASE) | 0;
    let rest = ((a - quotient * BASE) << 16) | b;
    a = quotient;
    quotient = (rest / BASE) | 0;
    rest = ((rest - quotient * BASE) << 16) | c;
    b = quotient;
    quotient = (rest / BASE) | 0;
    rest = ((rest - quotient * BASE) << 16) | d;
    c = quotient;
    quotient = (rest / BASE) | 0;
    digits[count++] = rest - quotient * BASE;
    d = quotient;
  }
  let lowest = 0;
  while (lowest < count && digits[lowest] === 0) lowest += 1;
  view.setInt16(at, count - lowest);
  view.setInt16(at + 2, count === 0 ? 0 : count - 1); // weight: the first digit's power of BASE
  view.setInt32(at + 4, 0); // positive; no decimals to show
  let end = at + 8;
  for (let i = count - 1; i >= lowest; i--) {
    view.setInt16(end, digits[i]);
    end += 2;
  }
  return end;
}
