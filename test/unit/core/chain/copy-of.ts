/** Binary COPY as a server sends it, by PostgreSQL's documentation. */

const EPOCH_2000_MICROS = 946_684_800_000_000n;

export function copyOf(rows: readonly (readonly (Buffer | null)[])[]): Buffer {
  const parts: Buffer[] = [Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)];
  for (const row of rows) {
    parts.push(int16(row.length));
    for (const value of row) {
      const length = Buffer.alloc(4);
      length.writeInt32BE(value === null ? -1 : value.length);
      parts.push(length, value ?? Buffer.alloc(0));
    }
  }
  return Buffer.concat([...parts, int16(-1)]);
}

export function int8(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

/** µs since 1970 */
export function timestamptz(micros: bigint): Buffer {
  return int8(micros - EPOCH_2000_MICROS);
}

/** a whole number from 0 on */
export function numeric(value: bigint): Buffer {
  const digits: number[] = [];
  for (let rest = value; rest > 0n; rest /= 10_000n) digits.unshift(Number(rest % 10_000n));
  const weight = Math.max(0, digits.length - 1);
  while (digits.at(-1) === 0) digits.pop();
  return Buffer.concat([int16(digits.length), int16(weight), int16(0), int16(0), ...digits.map(int16)]);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}
