/**
 * What the values of a column are, and how formats show them.
 *
 * | type | JSON | CSV | Arrow |
 * |---|---|---|---|
 * | text | string | text | utf8; a dictionary where values repeat |
 * | float64 | number | shortest digits that mean it | float64 |
 * | int64 | string | digits | int64 |
 * | count | number (below 2^53 by what it counts) | digits | int64 |
 * | uint64 | string | digits | uint64 |
 * | int16 | number | digits | int16 |
 * | timestamp | ISO-8601, six decimals, Z | the same | timestamp(µs, UTC) |
 * | decimal | number where a double is written the same way, else string | as written | utf8 |
 * | bool | true, false | true, false | bool |
 * | json | the value | its text | utf8 |
 * | hex | string | digits | utf8 |
 */
export type ColumnType =
  | 'text'
  | 'float64'
  | 'int64'
  | 'count'
  | 'uint64'
  | 'int16'
  | 'timestamp'
  | 'decimal'
  | 'bool'
  | 'json'
  | 'hex';

/** A column of a result. */
export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** text with few distinct values: kept as a dictionary */
  readonly repeats?: boolean;
  /** the value of every row: the store does not send it */
  readonly constant?: string;
}

/** A value as JavaScript has it: int64, count, uint64 and timestamp (µs since 1970) as bigint; text, decimal, json, hex as string. */
export type Value = string | number | bigint | boolean | null;
