/** How the text of a variable becomes a value. A parser throws a RangeError whose message says what is wrong. */
import { resolve } from 'node:path';
import { parseDuration } from '../../core/duration.ts';

export interface Parser<T> {
  /** accepted values, for messages and documentation */
  readonly allowed: string;
  /** unit of a bare number, '' when it has none */
  readonly unit: string;
  /**
   * @param folder below which relative paths are
   * @param lookup other variables, by the same rules; null: not set
   * @throws RangeError that never quotes the text: it may be a secret
   */
  parse(text: string, folder: string, lookup?: (variable: string) => string | null): T;
}

/**
 * A copied tuning profile may carry a comment behind the value. A shell drops it, systemd and docker keep it; no
 * number, duration, size or word contains one, so it is dropped here.
 */
export function withoutComment(text: string): string {
  return text.replace(/\s+#.*$/, '').trim();
}

export function wholeNumber(min: number, max: number, unit = ''): Parser<number> {
  return {
    allowed: `a whole number from ${min} to ${max}`,
    unit,
    parse(text) {
      const digits = withoutComment(text);
      if (!/^\d{1,15}$/.test(digits)) throw new RangeError('is not a whole number');
      const value = Number(digits);
      if (value < min || value > max) throw new RangeError('is out of range');
      return value;
    },
  };
}

/** Tick numbers: BigInt, as everywhere. */
export function bigNumber(max: bigint): Parser<bigint> {
  return {
    allowed: `a whole number from 0 to ${max}`,
    unit: '',
    parse(text) {
      const digits = withoutComment(text);
      if (!/^\d{1,20}$/.test(digits)) throw new RangeError('is not a whole number');
      const value = BigInt(digits);
      if (value > max) throw new RangeError('is out of range');
      return value;
    },
  };
}

/** A Go duration in milliseconds. `days` also takes a whole number of days such as 90d, which Go has no unit for. */
export function duration(
  min: string,
  max: string,
  options: { days?: boolean; zero?: string } = {},
): Parser<number> {
  const minMs = parseDuration(min);
  const maxMs = parseDuration(max);
  const zero = options.zero === undefined ? '' : `, or 0 = ${options.zero}`;
  return {
    allowed: `a duration from ${min} to ${max} such as 250ms, 5s, 1h30m${options.days === true ? ' or 90d' : ''}${zero}`,
    unit: 'duration',
    parse(text) {
      const written = withoutComment(text);
      const days = options.days === true ? /^(\d{1,6})d$/.exec(written) : null;
      const ms = days === null ? parseWithVerb(written) : Number(days[1]) * 86_400_000;
      if (ms === 0 && options.zero !== undefined) return 0;
      if (ms < minMs || ms > maxMs) throw new RangeError('is out of range');
      return ms;
    },
  };
}

function parseWithVerb(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`is ${error.message}`);
    throw error;
  }
}

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

export function byteSize(min: string, max: string): Parser<number> {
  const minBytes = parseBytes(min);
  const maxBytes = parseBytes(max);
  return {
    allowed: `a size from ${min} to ${max} such as 64MiB, 500MB or plain bytes`,
    unit: 'bytes',
    parse(text) {
      const bytes = parseBytes(withoutComment(text));
      if (bytes < minBytes || bytes > maxBytes) throw new RangeError('is out of range');
      return bytes;
    },
  };
}

function parseBytes(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s?([KMG]i?B|B|)$/i.exec(text);
  if (match === null) throw new RangeError('is not a size in bytes');
  const bytes = Number(match[1]) * BYTES_PER_UNIT[match[2].toLowerCase()];
  if (!Number.isSafeInteger(bytes)) throw new RangeError('is not a whole number of bytes');
  return bytes;
}

export function oneOf<const T extends string>(...words: readonly T[]): Parser<T> {
  return {
    allowed: words.join(' | '),
    unit: '',
    parse(text) {
      const written = withoutComment(text).toLowerCase();
      const word = words.find((word) => word === written);
      if (word === undefined) throw new RangeError('is not one of the allowed words');
      return word;
    },
  };
}

export const onOff: Parser<boolean> = {
  allowed: 'on | off',
  unit: '',
  parse: (text) => oneOf('on', 'off').parse(text, '') === 'on',
};

/** Port 0 asks the system for a free one, which the log then names. */
export const port: Parser<number> = {
  ...wholeNumber(0, 65535),
  allowed: 'a port from 1 to 65535, or 0 = any free one',
};

/** A name that becomes a label: letters that need no escaping anywhere. */
export const label: Parser<string> = {
  allowed: '1 to 64 letters, digits, dots, hyphens or underscores',
  unit: '',
  parse(text) {
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(text)) throw new RangeError('is no usable name');
    return text;
  },
};

export const path: Parser<string> = {
  allowed: 'a path, absolute or below the working directory',
  unit: '',
  parse: (text, folder) => resolve(folder, text),
};

/** One, or two while one takes the place of the other. */
export const tokens: Parser<string> = {
  allowed: 'printable characters without spaces and commas; two separated by a comma while it is rotated',
  unit: '',
  parse(text) {
    const both = text.split(',');
    if (both.length > 2) throw new RangeError('holds more than two tokens');
    if (both.some((one) => !/^[\x21-\x7e]+$/.test(one)))
      throw new RangeError('holds a space, an unprintable character or an empty token');
    return text;
  },
};

const HMAC_SECRET_CHARS_MIN = 32;

export const hmacKeys: Parser<ReadonlyMap<string, string>> = {
  allowed: `id:secret, several separated by commas; secrets of ${HMAC_SECRET_CHARS_MIN} printable characters at least`,
  unit: '',
  parse(text) {
    const keys = new Map<string, string>();
    for (const entry of text.split(',')) {
      const [, id, secret] = /^([A-Za-z0-9._-]{1,64}):([\x21-\x7e]+)$/.exec(entry.trim()) ?? [];
      if (id === undefined || secret === undefined)
        throw new RangeError('holds something that is no id:secret');
      if (secret.length < HMAC_SECRET_CHARS_MIN)
        throw new RangeError(`holds a secret of less than ${HMAC_SECRET_CHARS_MIN} characters`);
      if (keys.has(id)) throw new RangeError('holds an id twice');
      keys.set(id, secret);
    }
    return keys;
  },
};
