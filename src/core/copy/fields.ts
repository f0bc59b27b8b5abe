/** Fields of a row of a binary COPY, written where the sink has room for them. Each returns where the next one begins. */

/** 2000-01-01, from which a timestamptz counts its microseconds */
export const EPOCH_2000_MICROS = 946_684_800_000_000n;

/** Names repeat, so their bytes are cached; at this many the cache is cleared. */
const NAMES_MAX = 10_000;

const names = new Map<string, Uint8Array>();
const UTF8 = new TextEncoder();

export function nameBytes(name: string): Uint8Array {
  let bytes = names.get(name);
  if (bytes === undefined) {
    if (names.size >= NAMES_MAX) names.clear();
    bytes = UTF8.encode(name);
    names.set(name, bytes);
  }
  return bytes;
}

export function putName(view: DataView, bytes: Uint8Array, at: number, name: Uint8Array): number {
  view.setInt32(at, name.length);
  bytes.set(name, at + 4);
  return at + 4 + name.length;
}

export function putInt64(view: DataView, at: number, value: bigint): number {
  view.setInt32(at, 8);
  view.setBigInt64(at + 4, value);
  return at + 12;
}

export function putDouble(view: DataView, at: number, value: number | null): number {
  if (value === null) {
    view.setInt32(at, -1);
    return at + 4;
  }
  view.setInt32(at, 8);
  view.setFloat64(at + 4, value);
  return at + 12;
}
