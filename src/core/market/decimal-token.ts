/** A JSON number: no sign +, no leading zeros, digits on both sides of a point. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;

/**
 * A decimal as a JSON value: a number where a double is written in these very digits, else a string, so that no reader loses
 * any of them.
 */
export function decimalToken(decimal: string): string {
  const isNumber = NUMBER.test(decimal) && String(Number(decimal)) === decimal;
  return isNumber ? decimal : JSON.stringify(decimal);
}
