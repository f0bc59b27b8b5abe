import type { Parser } from './parsers.ts';

export interface Variable<T> {
  readonly name: string;
  readonly parser: Parser<T>;
  /** as an operator would write it; null = unset */
  readonly initial: string | null;
  /** one sentence for docs/configuration.md, messages and the example file */
  readonly doc: string;
  /** never shown, neither in messages nor in logs */
  readonly secret: boolean;
}

interface Traits {
  secret?: boolean;
}

export function required<T>(
  name: string,
  initial: string,
  parser: Parser<T>,
  doc: string,
  traits: Traits = {},
): Variable<T> {
  return { name, parser, initial, doc, secret: traits.secret ?? false };
}

export function optional<T>(
  name: string,
  parser: Parser<T>,
  doc: string,
  traits: Traits = {},
): Variable<T | null> {
  return { name, parser, initial: null, doc, secret: traits.secret ?? false };
}
