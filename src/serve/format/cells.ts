import { isNullAt, textAt, type ColumnData, type ColumnValues } from '../../core/table/batch.ts';
import type { Column } from '../../core/table/column.ts';
import { formatMicros } from '../../core/time.ts';
import type { TextSink } from './text-sink.ts';

/** Writes the value of a row. */
export type Cell = (out: TextSink, row: number) => void;

/** What a format writes in its own way. */
export interface TextStyle {
  /** null */
  nothing: string;
  /** around times and 64-bit numbers; '' or a quote */
  quote: string;
  /** a text, a JSON value or a decimal, as the format has it */
  styled(type: Column['type'], text: string): string;
  /** whether a text with these bytes is written as it is, between `quote` */
  isPlain(bytes: Uint8Array, start: number, end: number): boolean;
  /** NaN and infinities */
  notFinite(value: number): string;
}

/** Cells of a column of a batch in a format's style. */
export function cellsOf({ type }: Column, { data, validity }: ColumnData, style: TextStyle): Cell {
  const put = valuesOf(type, data, style);
  if (validity === null) return put;
  const nothing = Buffer.from(style.nothing);
  return (out, row) => {
    if (isNullAt(validity, row)) out.putBytes(nothing);
    else put(out, row);
  };
}

function valuesOf(type: Column['type'], data: ColumnValues, style: TextStyle): Cell {
  switch (data.kind) {
    case 'float64': {
      const { values } = data;
      return (out, row) => {
        const value = values[row];
        if (Number.isFinite(value)) out.putDouble(value);
        else out.putText(style.notFinite(value));
      };
    }
    case 'int64':
      return longs(type, data.values, style);
    case 'uint64': {
      const { values } = data;
      return (out, row) => out.putText(`${style.quote}${values[row]}${style.quote}`);
    }
    case 'int16': {
      const { values } = data;
      return (out, row) => out.putInteger(values[row]);
    }
    case 'bool': {
      const { values } = data;
      return (out, row) => out.putText(values[row] === 1 ? 'true' : 'false');
    }
    case 'dictionary': {
      const { codes } = data;
      const words = data.words.map((word) => Buffer.from(style.styled(type, word)));
      return (out, row) => out.putBytes(words[codes[row]]);
    }
    case 'text':
      return texts(type, data, style);
  }
}

const TWO_32 = 2 ** 32;
/** high words of numbers that a double holds exactly */
const EXACT_HIGH = 2 ** 20;

/** Read as two words where a double can hold the number: a BigInt per value costs several times as much. */
function longs(type: Column['type'], values: BigInt64Array, style: TextStyle): Cell {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const isTime = type === 'timestamp';
  const quote = type === 'count' || style.quote === '' ? 0 : style.quote.charCodeAt(0);
  return (out, row) => {
    if (quote !== 0) out.putByte(quote);
    const high = words[2 * row + 1];
    if (high < -EXACT_HIGH || high >= EXACT_HIGH)
      out.putText(isTime ? formatMicros(values[row]) : values[row].toString());
    else {
      const value = high * TWO_32 + (words[2 * row] >>> 0);
      if (isTime) out.putTime(value);
      else out.putInteger(value);
    }
    if (quote !== 0) out.putByte(quote);
  };
}

function texts(
  type: Column['type'],
  data: { bytes: Uint8Array; offsets: Int32Array },
  style: TextStyle,
): Cell {
  const { bytes, offsets } = data;
  const quote = Buffer.from(style.quote);
  const mayBePlain = type === 'text' || type === 'hex';
  return (out, row) => {
    const start = offsets[row];
    const end = offsets[row + 1];
    if (!mayBePlain || !style.isPlain(bytes, start, end)) {
      out.putText(style.styled(type, textAt(data, row)));
      return;
    }
    out.putBytes(quote);
    out.putBytes(bytes, start, end);
    out.putBytes(quote);
  };
}
