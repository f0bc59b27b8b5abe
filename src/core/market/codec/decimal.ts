/** most digits of a number as it is kept, those behind the point included */
export const DECIMAL_DIGITS_MAX = 38;
/** a longer text is none within the limit, whatever it says */
const CHARS_MAX = 64;
/** JSON's grammar */
const DECIMAL = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
const SPELLED_OUT = /^[+-]?(?:nan|inf|infinity)$/i;

export type DecimalMistake = 'not_a_number' | 'not_finite' | 'too_many_digits';

/**
 * A decimal number, exactly: all digits that were written, without exponent; null: it is none, and `mistake` says why.
 * `0.10` stays `0.10`, `1.5e3` is `1500`, `1e-7` is `0.0000001`, `-0` is `0`.
 *
 * @param text digits as JSON writes numbers
 */
export function exactDecimal(text: string): { text: string } | { mistake: DecimalMistake } {
  if (text.length > CHARS_MAX)
    return { mistake: /^-?\d[\d.eE+-]*$/.test(text) ? 'too_many_digits' : 'not_a_number' };
  const match = DECIMAL.exec(text);
  if (match === null) return { mistake: SPELLED_OUT.test(text) ? 'not_finite' : 'not_a_number' };
  const [, sign, whole, fraction = '', exponent = '0'] = match;
  const plain = moved(whole, fraction, Number(exponent));
  if (plain === null) return { mistake: 'too_many_digits' };
  const isZero = !/[1-9]/.test(plain);
  return { text: isZero ? plain : `${sign}${plain}` };
}

/** The digits with the point `by` places further right; null: more than DECIMAL_DIGITS_MAX of them. */
function moved(whole: string, fraction: string, by: number): string | null {
  // of a zero any exponent is one, and the digits behind its point are bounded as those of others
  const digits = `${whole}${fraction}`;
  const places = fraction.length - by;
  if (places > DECIMAL_DIGITS_MAX || -places > DECIMAL_DIGITS_MAX) return null;
  const padded = places >= 0 ? digits.padStart(places + 1, '0') : digits.padEnd(digits.length - places, '0');
  const point = padded.length - Math.max(places, 0);
  const before = padded.slice(0, point).replace(/^0+(?=\d)/, '');
  const behind = padded.slice(point);
  // the zero before a point is no digit of the number
  if ((before === '0' ? 0 : before.length) + behind.length > DECIMAL_DIGITS_MAX) return null;
  return behind === '' ? before : `${before}.${behind}`;
}
