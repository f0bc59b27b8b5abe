import { parseExactly } from '../../../core/market/codec/precision.ts';
import { ApiError } from '../errors.ts';

export const JSON_DEPTH_MAX = 32;

/** Names that reach the prototype of an object where a program copies them carelessly. */
const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype']);
const NAME_CHARS_MAX = 40;
const LONG_NUMBER = /\d{16}/;
/** as a number beyond every double has it */
const LONG_EXPONENT = /\d[eE]\+?\d{3}|\d{300}/;
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],]/gs;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The text of a body. @throws ApiError when it is not UTF-8 */
export function textOf(body: Buffer): string {
  try {
    return utf8.decode(body);
  } catch {
    throw new ApiError('bad_request', 'the body is not valid UTF-8');
  }
}

/**
 * JSON as programs that agree on it read it: no name twice in an object, none of a prototype, no depth beyond 32, and integers
 * beyond 2^53 with all their digits, as bigint.
 *
 * @throws ApiError bad_request
 */
export function parseJson(text: string): unknown {
  checkNames(text);
  let value: unknown;
  try {
    value = LONG_NUMBER.test(text) ? parseExactly(text) : JSON.parse(text);
    if (LONG_EXPONENT.test(text)) JSON.parse(text, refuseInfinite);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError('bad_request', 'the body is not valid JSON');
  }
  return value;
}

function refuseInfinite(_name: string, value: unknown): unknown {
  if (value === Infinity || value === -Infinity)
    throw new ApiError('bad_request', 'the body holds a number beyond every double');
  return value;
}

/** One pass over strings and brackets; what else is wrong with the text the parser says. */
function checkNames(text: string): void {
  // null: an array; otherwise the names of an object so far
  const open: (Set<string> | null)[] = [];
  let isName = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      if (open.length === JSON_DEPTH_MAX)
        throw new ApiError('bad_request', `the body is nested deeper than ${JSON_DEPTH_MAX}`);
      open.push(token === '{' ? new Set() : null);
      isName = token === '{';
    } else if (token === '}' || token === ']') {
      open.pop();
      isName = false;
    } else if (token === ',') {
      isName = open.at(-1) instanceof Set;
    } else if (isName) {
      addName(open.at(-1) as Set<string>, token);
      isName = false;
    }
  }
}

function addName(names: Set<string>, token: string): void {
  const name = token.includes('\\') ? unescape(token) : token.slice(1, -1);
  const shown = JSON.stringify(name.slice(0, NAME_CHARS_MAX));
  if (FORBIDDEN.has(name)) throw new ApiError('bad_request', `the body holds the name ${shown}`);
  if (names.has(name)) throw new ApiError('bad_request', `the body holds the name ${shown} twice`);
  names.add(name);
}

function unescape(token: string): string {
  try {
    return JSON.parse(token) as string;
  } catch {
    throw new ApiError('bad_request', 'the body is not valid JSON');
  }
}
