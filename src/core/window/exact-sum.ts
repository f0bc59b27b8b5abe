/**
 * A sum of doubles without any rounding: kept as doubles that do not overlap, the smallest first, whose sum is exact
 * (J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997). So it does not depend on the order of what was
 * added, sums of sums are exact too, and value() is what Python's math.fsum gives.
 */
export class ExactSum {
  #parts: number[] = [];

  /** @param parts of another sum, in any order; they may overlap */
  static of(parts: readonly number[]): ExactSum {
    const sum = new ExactSum();
    for (const part of parts) sum.add(part);
    return sum;
  }

  /** False once the sum left the range of a double: it stays beyond it then. */
  get isFinite(): boolean {
    return Number.isFinite(this.#parts[0] ?? 0);
  }

  /** @param addend finite */
  add(addend: number): void {
    const parts = this.#parts;
    const { length } = parts;
    let high = addend;
    let kept = 0;
    for (let at = 0; at < length; at += 1) {
      const part = parts[at];
      const sum = high + part;
      // what the rounding of high + part cut off, exactly, whichever is larger (Knuth)
      const virtual = sum - high;
      const low = high - (sum - virtual) + (part - virtual);
      if (low !== 0) {
        parts[kept] = low;
        kept += 1;
      }
      high = sum;
    }
    if (!Number.isFinite(high)) {
      this.#parts = [Infinity];
      return;
    }
    parts[kept] = high;
    parts.length = kept + 1;
  }

  addAll(parts: readonly number[]): void {
    for (const part of parts) this.add(part);
  }

  /** The exact sum rounded once, half to even; Infinity beyond the range. */
  value(): number {
    const parts = this.#parts;
    let at = parts.length - 1;
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
    // exactly between two doubles as far as `low` says: what is below it decides
    if (at > 0 && low !== 0 && Math.sign(low) === Math.sign(parts[at - 1])) {
      const twice = low * 2;
      const other = high + twice;
      if (other - high === twice) high = other;
    }
    return high;
  }

  /**
   * The exact sum as few doubles, the largest first: each is what is left, rounded. It depends on the sum alone, so equal
   * sums are equal rows. [] is 0; [Infinity] is beyond the range.
   */
  canonical(): number[] {
    if (!this.isFinite) return [Infinity];
    const rest = ExactSum.of(this.#parts);
    const parts: number[] = [];
    for (let head = rest.value(); head !== 0; head = rest.value()) {
      parts.push(head);
      rest.add(-head);
    }
    return parts;
  }
}
