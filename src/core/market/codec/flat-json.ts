/** A number as its digits were written. */
export class NumberText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type FlatValue = string | NumberText | boolean | null;

/** The fields of one object, in order. */
export type FlatRecord = ReadonlyMap<string, FlatValue>;

export interface FlatDocument {
  kind: 'document';
  /** false: one object without an array around it */
  isList: boolean;
  records: FlatRecord[];
}

/** Why a text is no such document. */
export interface FlatMistake {
  kind: 'mistake';
  reason: 'bad_json' | 'not_an_object' | 'nested' | 'repeated_field' | 'too_many';
  /** `[3].price`, `price`; empty: the whole */
  path: string;
  detail: string;
}

const BLANKS = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// eslint-disable-next-line no-control-regex
const PLAIN_STRING = /"[^"\\\u0000-\u001f]*"/y;
/** No field needs one this long: a bound on what the pattern has to remember. */
// eslint-disable-next-line no-control-regex
const ESCAPED_STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){0,2000}"/y;
const WORD = /true|false|null/y;

/**
 * JSON of one flat object or a list of them, in one pass: with the digits of numbers, which JSON.parse rounds, and a mistake
 * where a name is given twice, of which JSON.parse takes the last. Nothing is nested, so no depth of input is a burden.
 *
 * @param recordsMax a longer list is a mistake
 */
export function readFlatJson(text: string, recordsMax: number): FlatDocument | FlatMistake {
  return new FlatReader(text, recordsMax).read();
}

class FlatReader {
  readonly #text: string;
  readonly #recordsMax: number;
  #at = 0;

  constructor(text: string, recordsMax: number) {
    this.#text = text;
    this.#recordsMax = recordsMax;
  }

  read(): FlatDocument | FlatMistake {
    const isList = this.#skip() === '[';
    const records: FlatRecord[] = [];
    const mistake = isList ? this.#list(records) : this.#object(records, '');
    if (mistake !== null) return mistake;
    if (this.#skip() !== '') return this.#broken('', 'more follows behind the end');
    return { kind: 'document', isList, records };
  }

  #list(records: FlatRecord[]): FlatMistake | null {
    this.#at += 1;
    if (this.#skip() === ']') return this.#step();
    for (;;) {
      if (records.length >= this.#recordsMax)
        return mistake('too_many', '', `a list of more than ${this.#recordsMax}`);
      const wrong = this.#object(records, `[${records.length}]`);
      if (wrong !== null) return wrong;
      const next = this.#skip();
      if (next === ']') return this.#step();
      if (next !== ',') return this.#broken('', 'a list goes on with , or ends with ]');
      this.#at += 1;
    }
  }

  #object(records: FlatRecord[], path: string): FlatMistake | null {
    if (this.#skip() !== '{') return this.#noObject(path);
    this.#at += 1;
    const fields = new Map<string, FlatValue>();
    records.push(fields);
    if (this.#skip() === '}') return this.#step();
    for (;;) {
      const wrong = this.#field(fields, path);
      if (wrong !== null) return wrong;
      const next = this.#skip();
      if (next === '}') return this.#step();
      if (next !== ',') return this.#broken(path, 'an object goes on with , or ends with }');
      this.#at += 1;
    }
  }

  #field(fields: Map<string, FlatValue>, path: string): FlatMistake | null {
    this.#skip();
    const name = this.#string();
    if (name === null) return this.#broken(path, 'a field begins with its name in quotes');
    const field = fieldPath(path, name);
    if (this.#skip() !== ':') return this.#broken(field, 'a name is followed by :');
    this.#at += 1;
    const first = this.#skip();
    if (first === '{' || first === '[')
      return mistake('nested', field, `is ${first === '{' ? 'an object' : 'an array'}`);
    const value = this.#value();
    if (value === undefined) return this.#broken(field, 'has no value');
    if (fields.has(name)) return mistake('repeated_field', field, 'is given twice');
    fields.set(name, value);
    return null;
  }

  #value(): FlatValue | undefined {
    const word = this.#match(WORD);
    if (word !== null) return word === 'null' ? null : word === 'true';
    const number = this.#match(NUMBER);
    return number === null ? (this.#string() ?? undefined) : new NumberText(number);
  }

  #string(): string | null {
    const plain = this.#match(PLAIN_STRING);
    if (plain !== null) return plain.slice(1, -1);
    const escaped = this.#match(ESCAPED_STRING);
    return escaped === null ? null : (JSON.parse(escaped) as string);
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? null;
    if (found !== null) this.#at += found.length;
    return found;
  }

  /** The next character that is no blank; empty at the end. */
  #skip(): string {
    this.#match(BLANKS);
    return this.#text.charAt(this.#at);
  }

  #step(): null {
    this.#at += 1;
    return null;
  }

  #noObject(path: string): FlatMistake {
    const at = this.#at;
    const isValue = this.#text.charAt(at) === '[' || this.#value() !== undefined;
    this.#at = at;
    return isValue
      ? mistake('not_an_object', path, 'is no object')
      : this.#broken(path, 'an object begins with {');
  }

  #broken(path: string, detail: string): FlatMistake {
    return mistake('bad_json', path, `${detail}, at character ${this.#at}`);
  }
}

function mistake(reason: FlatMistake['reason'], path: string, detail: string): FlatMistake {
  return { kind: 'mistake', reason, path, detail };
}

/** most characters shown of an untrusted name */
const NAME_CHARS_MAX = 40;
const PLAIN_NAME = /^[A-Za-z_]\w*$/;

/** `[3].price`; a name that is not like a word is quoted. */
export function fieldPath(record: string, name: string): string {
  if (name.length > NAME_CHARS_MAX || !PLAIN_NAME.test(name))
    return `${record}[${JSON.stringify(name.slice(0, NAME_CHARS_MAX))}]`;
  return record === '' ? name : `${record}.${name}`;
}
