/**
 * Whether PostgreSQL accepts these bytes as text in a UTF-8 database: valid UTF-8 (no overlong form, no surrogate,
 * nothing above U+10FFFF) without a NUL.
 */
export function isText(view: DataView, start: number, length: number): boolean {
  const end = start + length;
  let at = start;
  // four bytes of plain ASCII at a time: no high bit set, and no byte borrows into it when 1 is subtracted
  while (at + 4 <= end) {
    const word = view.getInt32(at);
    if (((word | (word - 0x01010101)) & 0x80808080) !== 0) break;
    at += 4;
  }
  while (at < end) {
    const lead = view.getUint8(at);
    if (lead === 0) return false;
    if (lead < 0x80) {
      at += 1;
      continue;
    }
    const size = sequenceLength(view, at, end, lead);
    if (size === 0) return false;
    at += size;
  }
  return true;
}

/** Length of the multi-byte sequence at `at`; 0 when it is invalid. */
function sequenceLength(view: DataView, at: number, end: number, lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + size > end) return 0;
  const second = view.getUint8(at + 1);
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < size; i++) if ((view.getUint8(at + i) & 0xc0) !== 0x80) return 0;
  return size;
}
