const WHOLE = /^-?\d+$/;
/** as many as it takes to write any double; who sends more has a number that is none */
const DIGITS_MAX = 17;

/**
 * Whether a number that was sent has digits that a double does not keep: an integer beyond 2^53 that does not come back
 * from it, or a text with more than 17 significant digits. A JSON number with a fraction or an exponent is read as every
 * reader of JSON reads it, and counts as kept.
 *
 * @param sent as sent: a number, digits, or a bigint where the digits of an integer are known; valid
 * @param number what it became, finite
 */
export function isRounded(sent: unknown, number: number): boolean {
  if (typeof sent === 'number') return false;
  if (typeof sent === 'bigint') return !comesBack(sent, number);
  if (typeof sent !== 'string' || sent.length <= 15) return false;
  if (WHOLE.test(sent)) return !comesBack(BigInt(sent), number);
  const [mantissa = ''] = sent.split(/e/i);
  return significant(mantissa.replace('.', '')).length > DIGITS_MAX;
}

/** It is the double, or what a writer of shortest digits makes of it: 123456789012345670000 for …667584. */
function comesBack(whole: bigint, number: number): boolean {
  if (BigInt(number) === whole) return true;
  const [mantissa = ''] = number.toExponential().split('e');
  return significant(`${whole}`) === significant(mantissa.replace('.', ''));
}

function significant(digits: string): string {
  return digits.replace(/^-?0*/, '').replace(/0+$/, '');
}

/**
 * JSON with integers beyond 2^53 as bigint, which JSON.parse alone would round. Several times as slow: for texts that are
 * known to have such a number.
 */
export function parseExactly(text: string): unknown {
  return JSON.parse(text, reviveIntegers);
}

function reviveIntegers(
  this: unknown,
  _name: string,
  value: unknown,
  context?: { source?: string },
): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || !Number.isFinite(value)) return value;
  const source = context?.source;
  return source !== undefined && WHOLE.test(source) ? BigInt(source) : value;
}
