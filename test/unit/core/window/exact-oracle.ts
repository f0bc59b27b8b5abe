/** Sums of doubles by whole numbers, told from their bits: as independent of the code under test as can be. */

const BYTES = new DataView(new ArrayBuffer(8));
/** the smallest double is 2^-1074: every double is a whole number of them */
const SCALE = 1074n;

export function wholeOf(value: number): bigint {
  BYTES.setFloat64(0, value);
  const high = BYTES.getUint32(0);
  const exponent = (high >>> 20) & 0x7ff;
  const mantissa = (BigInt(high & 0xfffff) << 32n) | BigInt(BYTES.getUint32(4));
  const whole = exponent === 0 ? mantissa : (mantissa + (1n << 52n)) * 2n ** BigInt(exponent - 1);
  return high >>> 31 === 1 ? -whole : whole;
}

/** whole × 2^-1074 as the nearest double, half to even. */
export function nearest(whole: bigint): number {
  if (whole < 0n) return -nearest(-whole);
  const bits = whole === 0n ? 0 : whole.toString(2).length;
  const shift = BigInt(Math.max(0, bits - 53));
  let mantissa = whole >> shift;
  const rest = whole - (mantissa << shift);
  const half = shift === 0n ? 1n : 1n << (shift - 1n);
  if (shift > 0n && (rest > half || (rest === half && mantissa % 2n === 1n))) mantissa += 1n;
  const exponent = Number(shift - SCALE);
  // in two steps: 2^-1074 itself is a double, but 2^1024 is none
  return exponent > 900
    ? Number(mantissa) * 2 ** (exponent - 100) * 2 ** 100
    : Number(mantissa) * 2 ** exponent;
}

export function exactSum(values: readonly number[]): bigint {
  return values.reduce((sum, value) => sum + wholeOf(value), 0n);
}
