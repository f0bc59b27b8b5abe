import type { OpenAPIV3_1 } from 'openapi-types';

export type Schema = OpenAPIV3_1.SchemaObject | OpenAPIV3_1.ReferenceObject;

const DEPTH_MAX = 3;
const WORDS_MAX = 12;

/** A type in words: `string (date-time)`, `integer 1…10000`, `array of Tick`, `market | webhook`. */
export function typeText(schema: Schema | undefined, depth = 0): string {
  if (schema === undefined) return 'anything';
  if ('$ref' in schema) return refName(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return enumText(schema.enum);
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return options.map((option) => typeText(option, depth + 1)).join(' or ');
  if (schema.allOf !== undefined) return schema.allOf.map((part) => typeText(part, depth + 1)).join(' and ');
  if (schema.type === 'array') return `array of ${typeText((schema as { items?: Schema }).items, depth + 1)}`;
  if (schema.type === 'object' && schema.properties !== undefined && depth < DEPTH_MAX) {
    const fields = Object.entries(schema.properties).map(
      ([name, field]) =>
        `${name}${schema.required?.includes(name) === true ? '' : '?'}: ${typeText(field, depth + 1)}`,
    );
    return `{ ${fields.join('; ')} }`;
  }
  const type = [schema.type ?? 'anything'].flat().join(' or ');
  return [type, formatText(schema), rangeText(schema)].filter((text) => text !== '').join(' ');
}

/** The fields of an object; none for anything else. */
export function fieldsOf(schema: Schema): { name: string; schema: Schema; isRequired: boolean }[] {
  if ('$ref' in schema || schema.properties === undefined) return [];
  return Object.entries(schema.properties).map(([name, field]) => ({
    name,
    schema: field,
    isRequired: schema.required?.includes(name) === true,
  }));
}

export function refName(ref: string): string {
  return ref.slice(ref.lastIndexOf('/') + 1);
}

function enumText(values: readonly unknown[]): string {
  const shown = values
    .slice(0, WORDS_MAX)
    .map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  return [...shown, ...(values.length > WORDS_MAX ? ['…'] : [])].join(' | ');
}

function formatText({ format }: OpenAPIV3_1.SchemaObject): string {
  return format === undefined ? '' : `(${format})`;
}

function rangeText({
  minimum,
  maximum,
  minLength,
  maxLength,
  default: initial,
}: OpenAPIV3_1.SchemaObject): string {
  const range =
    isWide(minimum) && isWide(maximum) ? '' : `${minimum ?? ''}…${isWide(maximum) ? '' : maximum}`;
  const length =
    minLength === undefined && maxLength === undefined
      ? ''
      : `of ${minLength ?? 0}…${maxLength ?? ''} characters`;
  const byDefault = initial === undefined ? '' : `, default ${JSON.stringify(initial)}`;
  return `${range}${length}${byDefault}`;
}

/** The bounds of a type, which say nothing of the value. */
function isWide(value: number | undefined): boolean {
  return value === undefined || Math.abs(value) > 1e15;
}
