/**
 * Reads what a sink holds back into values: PostgreSQL protocol messages, then PGCOPY binary, by their documentation
 * and with no code of the encoder. Anything that a server would refuse throws.
 */
import assert from 'node:assert/strict';
import type { ColumnType, CopyTable } from '../../../../src/core/copy/tables.ts';
import { PROOFS, TICKS, TRANSACTIONS } from '../../../../src/core/copy/tables.ts';

/** int2, int8, numeric and timestamptz (µs since 1970) as BigInt, float8 as number */
export type Value = bigint | number | string | Buffer | null;
export type Row = Record<string, Value>;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const MICROS_1970_TO_2000 = BigInt(Date.UTC(2000, 0, 1)) * 1000n;

/** Payloads of the CopyData messages; the sequence must end with CopyDone and nothing after it. */
export function copyDataPayloads(wire: Uint8Array): Buffer[] {
  const bytes = Buffer.from(wire);
  const payloads: Buffer[] = [];
  let at = 0;
  for (;;) {
    const type = String.fromCharCode(bytes.readUInt8(at));
    const length = bytes.readInt32BE(at + 1);
    const end = at + 1 + length;
    assert.ok(length >= 4 && end <= bytes.length, 'a message within the bytes');
    if (type === 'c') {
      assert.equal(length, 4);
      assert.equal(end, bytes.length, 'nothing after CopyDone');
      return payloads;
    }
    assert.equal(type, 'd');
    payloads.push(bytes.subarray(at + 5, end));
    at = end;
  }
}

/** Rows of each CopyData message; a message that does not end with a row throws. */
export function rowsByMessage(wire: Uint8Array, table: CopyTable): Row[][] {
  const payloads = copyDataPayloads(wire);
  let ended = false;
  const messages = payloads.map((payload, i) => {
    let at = 0;
    if (i === 0) {
      assert.equal(payload.toString('latin1', 0, 11), 'PGCOPY\n\xff\r\n\0');
      assert.equal(payload.readInt32BE(11), 0, 'flags');
      assert.equal(payload.readInt32BE(15), 0, 'header extension');
      at = 19;
    }
    const rows: Row[] = [];
    while (at < payload.length) {
      assert.equal(ended, false, 'nothing after the end of the rows');
      const fields = payload.readInt16BE(at);
      at += 2;
      if (fields === -1) {
        ended = true;
        continue;
      }
      assert.equal(fields, table.columns.length);
      const row: Row = {};
      for (const column of table.columns) {
        const length = payload.readInt32BE(at);
        at += 4;
        if (length === -1) {
          assert.ok(column.nullable, `${column.name} is not null`);
          row[column.name] = null;
        } else {
          assert.ok(length >= 0 && at + length <= payload.length, 'a field within its message');
          row[column.name] = decodeValue(column.type, payload.subarray(at, at + length));
          at += length;
        }
      }
      rows.push(row);
    }
    return rows;
  });
  assert.ok(ended, 'the end of the rows');
  return messages;
}

export function rowsOf(wire: Uint8Array, table: CopyTable): Row[] {
  return rowsByMessage(wire, table).flat();
}

function decodeValue(type: ColumnType, bytes: Buffer): Value {
  switch (type) {
    case 'int2':
      assert.equal(bytes.length, 2);
      return BigInt(bytes.readInt16BE());
    case 'float8':
      assert.equal(bytes.length, 8);
      return bytes.readDoubleBE();
    case 'int8':
      assert.equal(bytes.length, 8);
      return bytes.readBigInt64BE();
    case 'timestamptz':
      assert.equal(bytes.length, 8);
      return bytes.readBigInt64BE() + MICROS_1970_TO_2000;
    case 'bytea':
      return Buffer.from(bytes);
    case 'text': {
      const text = utf8.decode(bytes);
      assert.ok(!text.includes('\0'), 'no NUL in a text');
      return text;
    }
    case 'jsonb':
      assert.equal(bytes[0], 1, 'version');
      return utf8.decode(bytes.subarray(1));
    case 'numeric':
      return decodeNumeric(bytes);
    default:
      throw new Error('a column of unknown type');
  }
}

export function decodeNumeric(bytes: Buffer): bigint {
  const count = bytes.readInt16BE(0);
  const weight = bytes.readInt16BE(2);
  assert.equal(bytes.readUInt16BE(4), 0, 'sign');
  assert.equal(bytes.readInt16BE(6), 0, 'scale');
  assert.equal(bytes.length, 8 + 2 * count);
  let value = 0n;
  for (let i = 0; i < count; i++) {
    const digit = bytes.readInt16BE(8 + 2 * i);
    assert.ok(digit >= 0 && digit < 10_000, 'a digit of base 10,000');
    assert.ok(weight - i >= 0, 'no digits below 1');
    if (i === 0 || i === count - 1) assert.notEqual(digit, 0, 'no zeros at the ends');
    value += BigInt(digit) * 10_000n ** BigInt(weight - i);
  }
  return value;
}

export interface Tables {
  ticks: Row[];
  proofs: Row[];
  transactions: Row[];
}

interface Written {
  bytes: Uint8Array;
  length: number;
}

export function written(sink: Written): Uint8Array {
  return sink.bytes.subarray(0, sink.length);
}

export function tablesOf(sinks: Record<keyof Tables, Written>): Tables {
  return {
    ticks: rowsOf(written(sinks.ticks), TICKS),
    proofs: rowsOf(written(sinks.proofs), PROOFS),
    transactions: rowsOf(written(sinks.transactions), TRANSACTIONS),
  };
}
