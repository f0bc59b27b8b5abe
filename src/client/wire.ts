import { formatMicros, parseIsoMicros, type Micros } from '../core/time.ts';

/** A time that a query is given: ISO-8601 (without a zone it is UTC), or microseconds since 1970. */
export type Time = string | Micros;

/** Microseconds since 1970 of a time as the API writes it. @throws RangeError when it is none */
export function microsOf(time: string): Micros {
  return parseIsoMicros(time);
}

/** A time as the API writes it: ISO-8601 in UTC, six decimals, Z. */
export function isoOf(micros: Micros): string {
  return formatMicros(micros);
}

/** An item as the client has it: what JSON has as digits in a string, because a double would not hold it, is a bigint. */
export type Decoded<Wire, Key extends keyof Wire> = {
  [K in keyof Wire]: K extends Key ? bigint | Extract<Wire[K], null> : Wire[K];
};

/** Makes these members bigint; without any, the item is used as JSON has it. Items are the server's own, parsed a moment ago, and changed in place. */
export function decoder<Wire extends object, Key extends keyof Wire & string>(
  ...keys: Key[]
): (item: unknown) => Decoded<Wire, Key> {
  return (item) => {
    const members = item as Record<string, unknown>;
    for (const key of keys) {
      const value = members[key];
      if (typeof value === 'string') members[key] = BigInt(value);
    }
    return members as Decoded<Wire, Key>;
  };
}
