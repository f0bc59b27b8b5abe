/** Where a place inside a scalar's value is in the YAML that it was written as. */
import { Scalar } from 'yaml';

/**
 * Offset in `source` of the character at `at` of the value. Quotes, escapes, line breaks and the indentation of blocks are in
 * the source alone, so the value's characters are looked for one after the other, blanks left out; the end of the value is the
 * place behind its last one.
 */
export function offsetInScalar(source: string, node: Scalar<string>, at: number): number {
  const [start, end] = node.range ?? [0, 0];
  let from = start;
  // the header of a block (`>-`) is no part of its value
  if (node.type === Scalar.BLOCK_FOLDED || node.type === Scalar.BLOCK_LITERAL)
    from = Math.max(start, source.indexOf('\n', start));
  else if (node.type === Scalar.QUOTE_DOUBLE || node.type === Scalar.QUOTE_SINGLE) from += 1;
  const isEnd = node.value.slice(at).trim() === '';
  const before = isEnd ? node.value.trimEnd() : node.value.slice(0, at + 1);
  let found = from;
  for (const character of before) {
    if (character.trim() === '') continue;
    found = source.indexOf(character, from);
    if (found < 0 || found >= end) return start;
    from = found + character.length;
  }
  return isEnd ? from : found;
}
