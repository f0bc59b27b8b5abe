import type { Batch } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';
import { cellsOf, type TextStyle } from './cells.ts';
import { TextSink } from './text-sink.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const RETURN = 0x0d;
const NEWLINE = 0x0a;
const SPECIAL = /[",\r\n]/;

/** Empty without quotes is null, so an empty text has them. */
function field(text: string): string {
  return text === '' || SPECIAL.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const CSV_STYLE: TextStyle = {
  nothing: '',
  quote: '',
  styled: (_, text) => field(text),
  isPlain(bytes, start, end) {
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at];
      if (byte === QUOTE || byte === COMMA || byte === RETURN || byte === NEWLINE) return false;
    }
    return end > start;
  },
  notFinite: String,
};

/** RFC 4180 with a header; null is an empty field, an empty text is `""`. */
export async function* csv(
  columns: readonly Column[],
  batches: AsyncIterable<Batch>,
): AsyncGenerator<Buffer, void, undefined> {
  const out = new TextSink();
  out.putText(`${columns.map(({ name }) => field(name)).join(',')}\r\n`);
  yield out.take();
  for await (const batch of batches) {
    putRows(out, batch);
    if (out.length > 0) yield out.take();
  }
}

function putRows(out: TextSink, batch: Batch): void {
  const cells = batch.columns.map((column, at) => cellsOf(column, batch.data[at], CSV_STYLE));
  for (let row = 0; row < batch.rows; row += 1) {
    for (let at = 0; at < cells.length; at += 1) {
      if (at > 0) out.putByte(COMMA);
      cells[at](out, row);
    }
    out.putByte(RETURN);
    out.putByte(NEWLINE);
  }
}
