import { z } from 'zod';
import type { Column, ColumnType } from '../../core/table/column.ts';
import { MEDIA_TYPES } from './media.ts';

/** Schemas of answers, made of the columns that they have. */

const TIME = z
  .string()
  .regex(/^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  .meta({ format: 'date-time' });

const VALUES: Readonly<Record<ColumnType, z.ZodType>> = {
  text: z.string(),
  float64: z.number(),
  int64: z.string().regex(/^-?\d{1,19}$/),
  count: z.int(),
  uint64: z.string().regex(/^\d{1,20}$/),
  int16: z.int(),
  timestamp: TIME,
  decimal: z.union([z.number(), z.string().regex(/^-?\d+(\.\d+)?$/)]).meta({
    description: 'A number where a double has the same digits, else a string.',
  }),
  bool: z.boolean(),
  json: z.unknown(),
  hex: z.string(),
};

export interface ItemMeta {
  /** name of the schema in the description */
  id: string;
  description: string;
  /** columns that may be null */
  nullable?: readonly string[];
}

/** A row in JSON. What is the same in every row whatever is asked (`kind`) is that word. */
export function itemOf(
  columns: readonly Column[],
  { id, description, nullable = [] }: ItemMeta,
): z.ZodObject {
  const shape = columns.map(({ name, type, constant = '' }) => {
    const value = constant === '' ? VALUES[type] : z.literal(constant);
    return [name, nullable.includes(name) ? value.nullable() : value] as const;
  });
  return z.object(Object.fromEntries(shape)).meta({ id, description });
}

interface Described {
  description: string;
  content: Record<string, { schema: z.ZodType }>;
}

/** A page of rows, in every format. */
export function listOf(item: z.ZodType, description: string): Described {
  const page = z.object({
    items: z.array(item),
    next: z.string().nullable().meta({ description: 'Cursor of the next page; null: this is the last one.' }),
  });
  return { description, content: inFormats(page) };
}

/** One row, in every format. */
export function oneOf(item: z.ZodType, description: string): Described {
  return { description, content: inFormats(item) };
}

function inFormats(json: z.ZodType): Described['content'] {
  return {
    [MEDIA_TYPES.json]: { schema: json },
    [MEDIA_TYPES.csv]: { schema: z.string().meta({ description: 'RFC 4180, with a header.' }) },
    [MEDIA_TYPES.ndjson]: { schema: z.string().meta({ description: 'An item a line.' }) },
    [MEDIA_TYPES.arrow]: { schema: z.string().meta({ description: 'Arrow IPC stream.', format: 'binary' }) },
  };
}
