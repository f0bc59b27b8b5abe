/** a sum and an addend that are both below this are far from the end of the range */
const LARGE = 2 ** 1021;

/**
 * A sum of doubles without any rounding: kept as doubles that do not overlap, the smallest first, whose sum is exact
 * (J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997). So it does not depend on the order of the
 * addends, sums of sums are exact too, and value() equals Python's math.fsum.
 */
export class ExactSum {
  /** the first #count of them; those behind are left over, because cutting an array costs more than the sum */
  readonly #parts: number[] = [];
  #count = 0;
  /** replaces the parts once they come near the end of the range: the sum in units of the smallest double */
  #units: bigint | null = null;
  #isFinite = true;

  /** @param parts of another sum, in any order; they may overlap */
  static of(parts: readonly number[]): ExactSum {
    const sum = new ExactSum();
    for (const part of parts) sum.add(part);
    return sum;
  }

  /** False while the sum is beyond the range of a double, and permanently once an addend was. */
  get isFinite(): boolean {
    return Number.isFinite(this.value());
  }

  add(addend: number): void {
    if (addend === 0) return; // a sum of only -0 would otherwise be -0
    const parts = this.#parts;
    const count = this.#count;
    const top = count === 0 ? 0 : parts[count - 1];
    if (this.#units !== null || !(Math.abs(addend) < LARGE && Math.abs(top) < LARGE)) {
      this.#addLarge(addend);
      return;
    }
    let high = addend;
    let kept = 0;
    for (let at = 0; at < count; at += 1) {
      const part = parts[at];
      const sum = high + part;
      // the exact rounding error of high + part, whichever is larger (Knuth)
      const virtual = sum - high;
      const low = high - (sum - virtual) + (part - virtual);
      if (low !== 0) {
        parts[kept] = low;
        kept += 1;
      }
      high = sum;
    }
    if (kept === parts.length) parts.push(high);
    else parts[kept] = high;
    this.#count = kept + 1;
  }

  /** A sum may leave the range and come back, in any order of its addends: so it continues as an integer. */
  #addLarge(addend: number): void {
    if (!Number.isFinite(addend)) {
      this.#isFinite = false;
      return;
    }
    this.#units ??= this.#kept().reduce((sum, part) => sum + unitsOf(part), 0n);
    this.#count = 0;
    this.#units += unitsOf(addend);
  }

  addAll(parts: readonly number[]): void {
    for (const part of parts) this.add(part);
  }

  /** The exact sum rounded once, half to even; ±Infinity beyond the range. */
  value(): number {
    if (!this.#isFinite) return Infinity;
    if (this.#units !== null) return doubleOf(this.#units);
    const parts = this.#parts;
    let at = this.#count - 1;
    if (at < 0) return 0;
    let high = parts[at];
    let low = 0;
    while (at > 0) {
      at -= 1;
      const before = high;
      high = before + parts[at];
      low = parts[at] - (high - before);
      if (low !== 0) break;
    }
    // judging by `low`, exactly between two doubles: the parts below it decide
    if (at > 0 && low !== 0 && Math.sign(low) === Math.sign(parts[at - 1])) {
      const twice = low * 2;
      const other = high + twice;
      if (other - high === twice) high = other;
    }
    return high;
  }

  /**
   * The exact sum as few doubles, the largest first: each is the rounded remainder. It depends only on the sum, so equal
   * sums give equal rows. [] is 0; [Infinity] is beyond the range.
   */
  canonical(): number[] {
    return this.isFinite ? this.state() : [Infinity];
  }

  /** Doubles of which of() makes this sum again, also where it is beyond the range for now. */
  state(): number[] {
    if (!this.#isFinite) return [Infinity];
    const rest = this.#copy();
    const parts: number[] = [];
    for (let head = rest.value(); head !== 0; head = rest.value()) {
      const part = Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, head));
      parts.push(part);
      rest.add(-part);
    }
    return parts;
  }

  /** Back to 0. */
  clear(): void {
    this.#count = 0;
    this.#units = null;
    this.#isFinite = true;
  }

  #kept(): number[] {
    return this.#parts.slice(0, this.#count);
  }

  #copy(): ExactSum {
    const copy = ExactSum.of(this.#kept());
    copy.#units = this.#units;
    return copy;
  }
}

const DOUBLE = new Float64Array(1);
const BITS = new BigUint64Array(DOUBLE.buffer);

/** A double as a whole number of smallest doubles (2^-1074). */
function unitsOf(value: number): bigint {
  DOUBLE[0] = Math.abs(value);
  const exponent = BITS[0] >> 52n;
  const fraction = BITS[0] & 0xf_ffff_ffff_ffffn;
  const units = exponent === 0n ? fraction : (fraction | 0x10_0000_0000_0000n) << (exponent - 1n);
  return value < 0 ? -units : units;
}

/** The nearest double, half to even. */
function doubleOf(units: bigint): number {
  const magnitude = units < 0n ? -units : units;
  // Number() rounds half to even; of the bits below the first 64 it only matters whether any is set
  const shift = Math.max(0, magnitude.toString(2).length - 64);
  const head = magnitude >> BigInt(shift);
  const rest = magnitude === head << BigInt(shift) ? 0n : 1n;
  const value = Number(head | rest) * 2 ** (shift - 1074);
  return units < 0n ? -value : value;
}
