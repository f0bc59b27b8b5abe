import { tableFromIPC, type Table } from 'apache-arrow';
import fc from 'fast-check';
import { test } from 'tap';
import type { Batch } from '../../../../src/core/table/batch.ts';
import type { Column, ColumnType, Value } from '../../../../src/core/table/column.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import { arrow } from '../../../../src/serve/format/arrow.ts';
import { csv } from '../../../../src/serve/format/csv.ts';
import { jsonItem, jsonPage, ndjson } from '../../../../src/serve/format/json.ts';
import { batchesOf, valuesOf } from '../../../support/table/copy-rows.ts';
import { parseCsv } from '../../../support/table/csv.ts';

const TYPES: ColumnType[] = [
  'text',
  'float64',
  'int64',
  'count',
  'uint64',
  'int16',
  'timestamp',
  'decimal',
  'bool',
  'json',
  'hex',
];
const COLUMNS: Column[] = [
  { name: 'kind', type: 'text', constant: 'a "constant",' },
  { name: 'word', type: 'text', repeats: true },
  ...TYPES.map((type) => ({ name: `a ${type}`, type })),
];

const rowsOfAll = fc.array(
  fc.tuple(
    ...COLUMNS.map(({ type, constant }) =>
      constant === undefined ? fc.option(valuesOf(type), { nil: null, freq: 4 }) : fc.constant(constant),
    ),
  ),
  { maxLength: 30 },
);

async function* streamed(rows: Value[][], rowsPerBatch: number): AsyncGenerator<Batch> {
  yield* batchesOf(COLUMNS, rows, rowsPerBatch);
}

async function bytesOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks));
}

/** What a value is in JSON, by the table of ColumnType. */
function jsonOf(type: ColumnType, value: Value): unknown {
  if (value === null) return null;
  if (type === 'timestamp') return formatMicros(value as bigint);
  if (type === 'int64' || type === 'uint64') return String(value);
  if (type === 'count') return Number(value);
  if (type === 'json') return JSON.parse(value as string);
  if (type === 'decimal') return String(Number(value)) === value ? Number(value) : value;
  return value;
}

function textOf(type: ColumnType, value: Value): string | null {
  if (value === null) return null;
  if (type === 'timestamp') return formatMicros(value as bigint);
  return Object.is(value, -0) ? '-0' : String(value);
}

/** A column of a table as the values that went in: times of Arrow as µs, which its own getter has not. */
function columnOf(table: Table, { name, type }: Column): unknown[] {
  const vector = table.getChild(name);
  if (vector === null) throw new Error(`no column ${name}`);
  if (type !== 'timestamp') return [...vector];
  return vector.data.flatMap((data) =>
    Array.from({ length: data.length }, (_, row) =>
      data.getValid(row) ? (data.values as BigInt64Array)[row] : null,
    ),
  );
}

const seed = process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) };

void test('JSON parses back to every value', async (t) => {
  await fc.assert(
    fc.asyncProperty(rowsOfAll, fc.integer({ min: 1, max: 12 }), async (rows, perBatch) => {
      const expected = rows.map((row) =>
        Object.fromEntries(COLUMNS.map(({ name, type }, at) => [name, jsonOf(type, row[at])])),
      );
      const lines = (await bytesOf(ndjson(streamed(rows, perBatch)))).toString().split('\n');
      t.equal(lines.pop(), '');
      const parsed: unknown[] = lines.map((line) => JSON.parse(line));
      t.strictSame(parsed, expected);
      const [whole] = batchesOf(COLUMNS, rows);
      if (whole === undefined) return;
      t.strictSame(JSON.parse(jsonPage(whole, 'abc').toString()), { items: expected, next: 'abc' });
      t.strictSame(JSON.parse(`[${jsonItem(whole).split('\n').join(',')}]`), expected);
    }),
    seed,
  );
});

void test('CSV by RFC 4180 parses back to the text of every value, null and the empty text apart', async (t) => {
  await fc.assert(
    fc.asyncProperty(rowsOfAll, fc.integer({ min: 1, max: 12 }), async (rows, perBatch) => {
      const text = (await bytesOf(csv(COLUMNS, streamed(rows, perBatch)))).toString();
      const [header, ...body] = parseCsv(text);
      t.strictSame(
        header,
        COLUMNS.map(({ name }) => name),
      );
      t.strictSame(
        body,
        rows.map((row) => COLUMNS.map(({ type }, at) => textOf(type, row[at]))),
      );
    }),
    seed,
  );
});

void test('Arrow parses back to every value, with dictionaries that grow from batch to batch', async (t) => {
  await fc.assert(
    fc.asyncProperty(rowsOfAll, fc.integer({ min: 1, max: 12 }), async (rows, perBatch) => {
      const table = tableFromIPC(await bytesOf(arrow(COLUMNS, streamed(rows, perBatch))));
      t.equal(table.numRows, rows.length);
      for (const [at, column] of COLUMNS.entries()) {
        const expected = rows.map((row) => (column.type === 'count' && row[at] !== null ? row[at] : row[at]));
        t.strictSame(columnOf(table, column), expected, column.name);
      }
    }),
    seed,
  );
});

void test('the digits of a double are those of String(), whatever its size', async (t) => {
  const column: Column = { name: 'x', type: 'float64' };
  const price = fc
    .tuple(fc.maxSafeInteger(), fc.nat(12))
    .map(([digits, decimals]) => digits / 10 ** decimals);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(price, fc.double({ noNaN: true, noDefaultInfinity: true }))),
      async (values) => {
        const rows = values.map((value) => [value]);
        const text = await bytesOf(
          ndjson(
            (async function* () {
              yield* batchesOf([column], rows);
            })(),
          ),
        );
        t.equal(
          text.toString(),
          values.map((value) => `{"x":${Object.is(value, -0) ? '-0' : value}}\n`).join(''),
        );
      },
    ),
    { ...seed, numRuns: 300 },
  );
});

void test('an empty result has the header, the schema or an empty list', async (t) => {
  t.equal((await bytesOf(ndjson(streamed([], 1)))).length, 0);
  t.match((await bytesOf(csv(COLUMNS, streamed([], 1)))).toString(), /^kind,word,a text,[^\r\n]*\r\n$/);
  const table = tableFromIPC(await bytesOf(arrow(COLUMNS, streamed([], 1))));
  t.equal(table.numRows, 0);
  t.strictSame(
    table.schema.fields.map(({ name }) => name),
    COLUMNS.map(({ name }) => name),
  );
});

void test('what JSON cannot say of doubles is null, and CSV says it', async (t) => {
  const columns: Column[] = [{ name: 'x', type: 'float64' }];
  const rows = [[NaN], [Infinity], [-Infinity]];
  const source = async function* (): AsyncGenerator<Batch> {
    yield* batchesOf(columns, rows);
  };
  t.equal((await bytesOf(ndjson(source()))).toString(), '{"x":null}\n'.repeat(3));
  t.equal((await bytesOf(csv(columns, source()))).toString(), 'x\r\nNaN\r\nInfinity\r\n-Infinity\r\n');
  t.strictSame([...(tableFromIPC(await bytesOf(arrow(columns, source()))).getChild('x') ?? [])], rows.flat());
});
