/** RFC 4180, read strictly: rows of fields; a field without quotes that is empty is null. */
export function parseCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [];
  let row: (string | null)[] = [];
  let at = 0;
  while (at < text.length) {
    let value: string | null;
    if (text[at] === '"') {
      value = '';
      for (at += 1; ; at += 1) {
        if (at >= text.length) throw new Error('a quoted field has no end');
        if (text[at] === '"') {
          if (text[at + 1] !== '"') break;
          at += 1;
        }
        value += text[at];
      }
      at += 1;
    } else {
      const end = /[,\r\n"]/g;
      end.lastIndex = at;
      const found = end.exec(text);
      if (found === null) throw new Error('the last row has no end');
      value = found.index === at ? null : text.slice(at, found.index);
      at = found.index;
    }
    row.push(value);
    if (text[at] === ',') {
      at += 1;
      continue;
    }
    if (text.slice(at, at + 2) !== '\r\n') throw new Error(`neither comma nor CRLF at ${at}`);
    at += 2;
    rows.push(row);
    row = [];
  }
  return rows;
}
