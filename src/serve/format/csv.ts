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

/** A spreadsheet takes a text that begins so for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

/** As CSV_STYLE; a text that a spreadsheet would compute has an apostrophe in front. */
const SPREADSHEET_STYLE: TextStyle = {
  ...CSV_STYLE,
  styled: (type, text) =>
    field((type === 'text' || type === 'json') && FORMULA.test(text) ? `'${text}` : text),
  isPlain: (bytes, start, end) =>
    !FORMULA.test(String.fromCharCode(bytes[start] ?? 0)) && CSV_STYLE.isPlain(bytes, start, end),
};

export interface CsvOptions {
  lineEnd: '\r\n' | '\n';
  /** whether texts that a spreadsheet would compute are made harmless */
  isForSpreadsheets: boolean;
}

/** CSV with a header; null is an empty field, an empty text is `""`. */
export class CsvText {
  readonly #lineEnd: string;
  readonly #style: TextStyle;
  readonly #out = new TextSink();

  constructor({ lineEnd, isForSpreadsheets }: CsvOptions) {
    this.#lineEnd = lineEnd;
    this.#style = isForSpreadsheets ? SPREADSHEET_STYLE : CSV_STYLE;
  }

  header(columns: readonly Column[]): Buffer {
    this.#out.putText(`${columns.map(({ name }) => field(name)).join(',')}${this.#lineEnd}`);
    return this.#out.take();
  }

  /** In memory of its own. */
  rows(batch: Batch): Buffer {
    this.put(batch, this.#out);
    return this.#out.take();
  }

  /** At the end of `out`. */
  put(batch: Batch, out: TextSink): void {
    const isLong = this.#lineEnd.length === 2;
    const cells = batch.columns.map((column, at) => cellsOf(column, batch.data[at], this.#style));
    for (let row = 0; row < batch.rows; row += 1) {
      for (let at = 0; at < cells.length; at += 1) {
        if (at > 0) out.putByte(COMMA);
        cells[at](out, row);
      }
      if (isLong) out.putByte(RETURN);
      out.putByte(NEWLINE);
    }
  }
}

/** RFC 4180. */
export async function* csv(
  columns: readonly Column[],
  batches: AsyncIterable<Batch>,
): AsyncGenerator<Buffer, void, undefined> {
  const text = new CsvText({ lineEnd: '\r\n', isForSpreadsheets: false });
  yield text.header(columns);
  for await (const batch of batches) {
    if (batch.rows > 0) yield text.rows(batch);
  }
}
