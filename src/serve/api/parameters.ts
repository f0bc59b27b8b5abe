import { z } from 'zod';
import { symbolProblem, upperCased } from '../../core/market/identity/symbol.ts';
import { parseIsoMicros, type Micros } from '../../core/time.ts';
import { FORMATS } from './media.ts';

/** What queries take, from text to what the store knows. */

/** ISO-8601 (UTC without a zone) or whole µs since 1970. */
export const time = z
  .string()
  .max(64)
  .transform((text, context): Micros => {
    try {
      return microsOf(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'is no time: ISO-8601, or whole microseconds since 1970' });
      return z.NEVER;
    }
  })
  .meta({
    description: 'ISO-8601 (UTC without a zone), or whole microseconds since 1970.',
    examples: ['2025-10-31T10:00:00Z'],
  });

/** Times of the years 1 to 9999: others are no times of any tick. */
const MICROS_MIN = -62_135_596_800_000_000n;
const MICROS_MAX = 253_402_300_799_999_999n;

function microsOf(text: string): Micros {
  const micros = /^-?\d{1,18}$/.test(text) ? BigInt(text) : parseIsoMicros(text);
  if (micros < MICROS_MIN || micros > MICROS_MAX) throw new RangeError('beyond the years 1 to 9999');
  return micros;
}

export const symbol = z
  .string()
  .min(1)
  .max(128)
  .transform((text, context) => {
    const name = upperCased(text);
    const problem = symbolProblem(name);
    if (problem === null) return name;
    context.addIssue({ code: 'custom', message: problem });
    return z.NEVER;
  })
  .meta({ description: 'Upper-cased by the ASCII rule.', examples: ['BTCUSDT'] });

export const provider = z
  .string()
  .regex(/^[!-{}~]{1,64}$/)
  .meta({ description: 'Who the data is from.', examples: ['binance'] });

/** A text that a column of names may hold. */
// eslint-disable-next-line no-control-regex
export const word = z.string().regex(/^[^\u0000-\u001f\u007f-\u009f]{1,128}$/u);

/** Of the chain: 0 to 2^63 − 1, which is what can be stored. */
export const tickNumber = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt)
  .refine((number) => number < 2n ** 63n, { message: 'is beyond 2^63 - 1' });

/** An id of a row. */
export const rowId = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(BigInt);

export const LIMIT_DEFAULT = 1000;
export const LIMIT_MAX = 10_000;

/** What every list takes. */
export const PAGE = {
  limit: z
    .string()
    .regex(/^[1-9]\d{0,4}$/)
    .transform(Number)
    .refine((limit) => limit <= LIMIT_MAX, { message: `is above ${LIMIT_MAX}` })
    .optional()
    .meta({
      description: `Rows of a page, 1 to ${LIMIT_MAX}. JSON: ${LIMIT_DEFAULT} without it; the other formats: all rows.`,
    }),
  cursor: z.string().max(2048).optional().meta({ description: 'Where the page before ended: its `next`.' }),
};

export const format = z
  .enum(FORMATS)
  .optional()
  .meta({ description: 'In place of Accept: the format of the answer.' });

/** Of a cursor's key. */
export const keyMicros = z
  .string()
  .regex(/^-?\d{1,19}$/)
  .transform(BigInt);
export const keyNumber = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);
