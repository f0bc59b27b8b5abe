export const SYMBOL_BYTES_MAX = 128;

const [BLANK, FIRST_CHAR, LAST_CHAR, BAR, LOWER_A, LOWER_Z] = [0x20, 0x21, 0x7e, 0x7c, 0x61, 0x7a];
/**
 * Controls, formatting that nobody sees, halves of surrogate pairs, blanks other than U+0020, and code points without a
 * character. U+FFFD stands for bytes that somebody could not read: two symbols would become one.
 */
const NOT_PRINTABLE = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|[|\ufffd]/u;
const LOWER = /[a-z]+/g;

/** What keeps a text from being a symbol, in any case: 1-128 bytes of printable UTF-8 without `|`, blanks inside alone. */
export function symbolProblem(text: string): string | null {
  if (text.length === 0 || text.length > SYMBOL_BYTES_MAX) return `has not 1 to ${SYMBOL_BYTES_MAX} bytes`;
  if (isPlain(text)) return null;
  if (Buffer.byteLength(text) > SYMBOL_BYTES_MAX) return `has more than ${SYMBOL_BYTES_MAX} bytes`;
  if (text.charCodeAt(0) === BLANK || text.charCodeAt(text.length - 1) === BLANK)
    return 'begins or ends with a blank';
  const found = NOT_PRINTABLE.exec(text);
  if (found === null) return null;
  const code = (found[0].codePointAt(0) ?? 0).toString(16).padStart(4, '0');
  return `has U+${code} at ${found.index}; allowed are printable characters without |`;
}

/** Of 0x21-0x7E alone, without |, as nearly all are. */
function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char < FIRST_CHAR || char > LAST_CHAR || char === BAR) return false;
  }
  return true;
}

/** Only a-z to A-Z change: Ä and ä stay two symbols, as the database, which compares bytes, keeps them apart. */
export function upperCased(symbol: string): string {
  for (let at = 0; at < symbol.length; at += 1) {
    const char = symbol.charCodeAt(at);
    if (char >= LOWER_A && char <= LOWER_Z) return symbol.replace(LOWER, (letters) => letters.toUpperCase());
  }
  return symbol;
}
