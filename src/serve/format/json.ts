import { decimalToken } from '../../core/market/decimal-token.ts';
import type { Batch } from '../../core/table/batch.ts';
import { cellsOf, type TextStyle } from './cells.ts';
import { TextSink } from './text-sink.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BLANK = 0x20;
const NEWLINE = 0x0a;
const COMMA = 0x2c;
const CLOSE = 0x7d;

/** JSON has no NaN and no infinity: null. */
const JSON_STYLE: TextStyle = {
  nothing: 'null',
  quote: '"',
  styled(type, text) {
    if (type === 'json') return text;
    return type === 'decimal' ? decimalToken(text) : JSON.stringify(text);
  },
  isPlain(bytes, start, end) {
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at];
      if (byte === QUOTE || byte === BACKSLASH || byte < BLANK) return false;
    }
    return true;
  },
  notFinite: () => 'null',
};

/** A page: `{"items":[…],"next":"…"|null}`. */
export function jsonPage(batch: Batch, next: string | null): Buffer {
  const out = new TextSink();
  out.putText('{"items":[');
  putRows(out, batch, COMMA);
  // the comma behind the last one
  if (batch.rows > 0) out.length -= 1;
  out.putText(`],"next":${JSON.stringify(next)}}`);
  return out.take();
}

/** One row as a JSON object. */
export function jsonItem(batch: Batch): string {
  const out = new TextSink();
  putRows(out, batch, NEWLINE);
  return out.take().toString('utf8', 0).trimEnd();
}

/** Each row as a JSON object. */
export function jsonLines(batch: Batch): string[] {
  if (batch.rows === 0) return [];
  const out = new TextSink();
  putRows(out, batch, NEWLINE);
  return out.take().toString('utf8').trimEnd().split('\n');
}

/** Newline-delimited JSON: an object a line. */
export async function* ndjson(batches: AsyncIterable<Batch>): AsyncGenerator<Buffer, void, undefined> {
  const out = new TextSink();
  for await (const batch of batches) {
    putRows(out, batch, NEWLINE);
    if (out.length > 0) yield out.take();
  }
}

function putRows(out: TextSink, batch: Batch, separator: number): void {
  const cells = batch.columns.map((column, at) => cellsOf(column, batch.data[at], JSON_STYLE));
  const names = batch.columns.map(({ name }, at) =>
    Buffer.from(`${at === 0 ? '{' : ','}${JSON.stringify(name)}:`),
  );
  for (let row = 0; row < batch.rows; row += 1) {
    for (let at = 0; at < cells.length; at += 1) {
      out.putBytes(names[at]);
      cells[at](out, row);
    }
    out.putByte(CLOSE);
    out.putByte(separator);
  }
}
