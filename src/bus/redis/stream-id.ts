/** Stream ids are `ms-seq`, two u64. Below every entry: no entry can have this id. */
export const BEGINNING = '0-0';
/** Only the highest id of all lies above it, which XREADGROUP takes for `>`. */
export const LAST_POSITION = '18446744073709551615-18446744073709551614';

const SEQUENCE_MAX = 18_446_744_073_709_551_615n;

/** Order of two ids: negative, 0, positive. An id without a sequence is its first one. */
export function comparePositions(a: string, b: string): number {
  const [aMs = '0', aSequence = '0'] = a.split('-');
  const [bMs = '0', bSequence = '0'] = b.split('-');
  return compareDecimals(aMs, bMs) || compareDecimals(aSequence, bSequence);
}

/** Of two decimal numbers without leading zeros the longer one is larger: no u64 has to become a float. */
function compareDecimals(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export function lowerPosition(a: string, b: string): string {
  return comparePositions(a, b) <= 0 ? a : b;
}

/** The greatest id below this one. */
export function positionBefore(position: string): string {
  const [ms, sequence] = parts(position);
  if (sequence > 0n) return `${ms}-${sequence - 1n}`;
  return ms === 0n ? BEGINNING : `${ms - 1n}-${SEQUENCE_MAX}`;
}

/** The least id above this one; the highest id of all itself. */
export function positionAfter(position: string): string {
  const [ms, sequence] = parts(position);
  if (sequence < SEQUENCE_MAX) return `${ms}-${sequence + 1n}`;
  return ms === SEQUENCE_MAX ? position : `${ms + 1n}-0`;
}

/** When the entry was added, ms since 1970 by the server's clock, unless whoever added it chose the id. */
export function positionMs(position: string): number {
  const dash = position.indexOf('-');
  return Number(dash < 0 ? position : position.slice(0, dash));
}

function parts(position: string): [bigint, bigint] {
  const [ms = '0', sequence = '0'] = position.split('-');
  return [BigInt(ms), BigInt(sequence)];
}
