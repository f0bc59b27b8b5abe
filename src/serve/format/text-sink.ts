import { formatMicros } from '../../core/time.ts';

const FIRST_BYTES = 64 * 1024;
/** room for any number or time, bytes */
const NUMBER_BYTES_MAX = 40;

const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const COLON = 0x3a;
const Z = 0x5a;

/** decimals that prices and sizes mostly have */
const DECIMALS = [2, 5, 8] as const;
const POWERS = [1e2, 1e5, 1e8] as const;
/** with so many digits a decimal that reads as a double is its shortest text */
const FIFTEEN_DIGITS = 999_999_999_999_999;
const MICROS_PER_DAY = 86_400_000_000;
const DAYS_KEPT = 61;

/**
 * A growing run of text as UTF-8. Numbers and times are written digit by digit: by strings the rows of a large result cost
 * three times as much (measured), most of it in String(double).
 */
export class TextSink {
  bytes: Buffer = Buffer.allocUnsafe(FIRST_BYTES);
  length = 0;
  /** days of times written lately, and `2025-01-01T` of each: a row may have times of several days */
  readonly #days = new Float64Array(DAYS_KEPT).fill(NaN);
  readonly #dates: Uint8Array[] = [];

  ensure(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.length + count));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  /** The text so far, in memory of its own. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.length);
    this.bytes = Buffer.allocUnsafe(Math.max(FIRST_BYTES, this.length));
    this.length = 0;
    return taken;
  }

  putByte(byte: number): void {
    this.ensure(1);
    this.bytes[this.length] = byte;
    this.length += 1;
  }

  putBytes(from: Uint8Array, start = 0, end = from.length): void {
    const count = end - start;
    this.ensure(count);
    const { bytes, length } = this;
    if (count < 32) for (let at = 0; at < count; at += 1) bytes[length + at] = from[start + at];
    else bytes.set(from.subarray(start, end), length);
    this.length = length + count;
  }

  putText(text: string): void {
    this.ensure(text.length * 3);
    this.length += this.bytes.write(text, this.length);
  }

  /** The same digits as String(value): the shortest that mean the double; a zero keeps its sign. Finite. */
  putDouble(value: number): void {
    this.ensure(NUMBER_BYTES_MAX);
    if (value < 0 || Object.is(value, -0)) this.bytes[this.length++] = MINUS;
    const size = Math.abs(value);
    if (Number.isSafeInteger(size)) this.#digits(size);
    else if (!this.#decimal(size)) this.length += this.bytes.write(String(size), this.length, 'latin1');
  }

  /** @param value a whole number that a double holds exactly */
  putInteger(value: number): void {
    this.ensure(NUMBER_BYTES_MAX);
    if (value < 0) this.bytes[this.length++] = MINUS;
    this.#digits(Math.abs(value));
  }

  /** @param micros whole µs since 1970 that a double holds exactly. As formatMicros() */
  putTime(micros: number): void {
    this.ensure(NUMBER_BYTES_MAX);
    const day = Math.floor(micros / MICROS_PER_DAY);
    const slot = ((day % DAYS_KEPT) + DAYS_KEPT) % DAYS_KEPT;
    if (this.#days[slot] !== day) {
      this.#days[slot] = day;
      this.#dates[slot] = Buffer.from(
        formatMicros(BigInt(day * MICROS_PER_DAY)).slice(0, -'00:00:00.000000Z'.length),
      );
    }
    const microsOfDay = micros - day * MICROS_PER_DAY;
    const second = Math.floor(microsOfDay / 1e6);
    const minute = Math.floor(second / 60);
    const hour = Math.floor(minute / 60);
    this.putBytes(this.#dates[slot]);
    this.#padded(hour, 2);
    this.bytes[this.length++] = COLON;
    this.#padded(minute - hour * 60, 2);
    this.bytes[this.length++] = COLON;
    this.#padded(second - minute * 60, 2);
    this.bytes[this.length++] = POINT;
    this.#padded(microsOfDay - second * 1e6, 6);
    this.bytes[this.length++] = Z;
  }

  /** False: it is not a number of few decimals, and nothing is written. */
  #decimal(size: number): boolean {
    // outside, String() writes an exponent, or the digits are too many
    if (size < 1e-6 || size >= 1e13) return false;
    for (let at = 0; at < POWERS.length; at += 1) {
      const power = POWERS[at];
      const scaled = Math.round(size * power);
      // both are exact, so the quotient is the double nearest to the decimal
      if (scaled > FIFTEEN_DIGITS) return false;
      if (scaled / power !== size) continue;
      const whole = Math.floor(size);
      let fraction = scaled - whole * power;
      let decimals: number = DECIMALS[at];
      while (fraction % 10 === 0) {
        fraction /= 10;
        decimals -= 1;
      }
      this.#digits(whole);
      this.bytes[this.length++] = POINT;
      this.#padded(fraction, decimals);
      return true;
    }
    return false;
  }

  /** A whole number from 0 to 2^53 − 1. */
  #digits(value: number): void {
    let count = 1;
    for (let limit = 10; value >= limit && count < 16; limit *= 10) count += 1;
    this.#padded(value, count);
  }

  #padded(value: number, count: number): void {
    const { bytes } = this;
    const end = this.length + count;
    let at = end;
    let rest = value;
    while (rest > 0x7fff_ffff) {
      const next = Math.floor(rest / 10);
      at -= 1;
      bytes[at] = ZERO + (rest - next * 10);
      rest = next;
    }
    let small = rest | 0;
    while (at > this.length) {
      const next = (small / 10) | 0;
      at -= 1;
      bytes[at] = ZERO + (small - next * 10);
      small = next;
    }
    this.length = end;
  }
}
