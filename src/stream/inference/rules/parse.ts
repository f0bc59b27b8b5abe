/** configs/rules.yaml as a RuleSet, or every mistake in it with its line and column. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type ParsedNode,
  type Scalar,
} from 'yaml';
import { Conditions } from './condition.ts';
import { RulesError, type RulesMistake } from './mistakes.ts';
import { offsetInScalar } from './position.ts';
import { MODES, PRICE, RuleSet, type CompiledRule, type Rule } from './rule-set.ts';

/** Names are a label of metrics: each is a series. */
const RULES_MAX = 200;
const MISTAKES_MAX = 50;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;
const KEYS = ['name', 'condition', 'signal', 'score', 'mode'] as const;

/** A key of a rule, and its value. */
interface Field {
  /** of the key */
  offset: number;
  /** null for `key:` without anything */
  node: ParsedNode | null;
}

type Fields = Map<(typeof KEYS)[number], Field>;

/**
 * @param file as the user names it, for messages
 * @param features names of what a row's `values` holds, in that order; `price` is known besides
 * @throws RulesError
 */
export function parseRules(file: string, text: string, features: readonly string[]): RuleSet {
  return new RulesReader(file, text, features).read();
}

class RulesReader {
  readonly #file: string;
  readonly #text: string;
  readonly #features: readonly string[];
  readonly #conditions: Conditions;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;
  readonly #mistakes: RulesMistake[] = [];
  /** names and the lines they are on */
  readonly #names = new Map<string, number>();

  constructor(file: string, text: string, features: readonly string[]) {
    this.#file = file;
    this.#text = text;
    this.#features = features;
    this.#conditions = new Conditions([...features, PRICE]);
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
  }

  read(): RuleSet {
    const { contents, errors, warnings } = this.#document;
    // a warning is a tag that is not known: `condition: !(rsi > 70)` without quotes
    for (const { pos, message } of [...errors, ...warnings]) {
      this.#report(pos[0], null, `YAML: ${message}${this.#hint(pos[0])}`);
    }
    this.#throwMistakes();
    const list = this.#resolved(contents);
    if (
      list === null ||
      (isScalar(list) && list.value === null) ||
      (isSeq(list) && list.items.length === 0)
    ) {
      this.#report(
        offsetOf(list),
        null,
        'there are no rules; inference.adapters.rules.enabled: false is the way to have none',
      );
    } else if (!isSeq(list)) {
      this.#report(offsetOf(list), null, 'expected a list of rules, each with "- name: …"');
    } else if (list.items.length > RULES_MAX) {
      this.#report(offsetOf(list), null, `${list.items.length} rules; at most ${RULES_MAX}`);
    }
    this.#throwMistakes();
    const items = isSeq(list) ? list.items : [];
    const compiled = items.map((item) => this.#rule(item));
    this.#throwMistakes();
    return new RuleSet(
      compiled.filter((one) => one !== null),
      this.#features,
    );
  }

  #rule(item: ParsedNode): CompiledRule | null {
    const fields = this.#fields(item);
    if (fields === null) return null;
    const start = offsetOf(item);
    const name = this.#name(fields.get('name'), start);
    const condition = this.#condition(fields.get('condition'), start, name);
    const signal = this.#number('signal', fields.get('signal'), name);
    if (signal === undefined) this.#report(start, name, 'has no signal, the value of what it sends');
    const score = this.#number('score', fields.get('score'), name, [0, 1]) ?? null;
    const mode = this.#mode(fields.get('mode'), name);
    if (name === null || condition === null || signal === undefined) return null;
    const { text, compiled } = condition;
    return {
      rule: { name, condition: text, variables: compiled.names, signal, score, mode },
      condition: compiled,
    };
  }

  #fields(item: ParsedNode): Fields | null {
    const map = this.#resolved(item);
    if (!isMap(map)) {
      this.#report(offsetOf(item), null, 'expected a rule with name, condition and signal');
      return null;
    }
    const fields: Fields = new Map();
    let name: string | null = null;
    const unknown: { offset: number; key: string }[] = [];
    for (const { key, value } of map.items) {
      const word = isScalar(key) ? String(key.value) : '(no word)';
      const known = KEYS.find((one) => one === word);
      if (known === undefined) unknown.push({ offset: offsetOf(key), key: word });
      else fields.set(known, { offset: offsetOf(key), node: this.#resolved(value) });
      if (known === 'name' && isScalar(value) && typeof value.value === 'string') name = value.value;
    }
    for (const { offset, key } of unknown) {
      this.#report(offset, name, `${key} is not a key of a rule; known are ${KEYS.join(', ')}`);
    }
    return fields;
  }

  #name(field: Field | undefined, start: number): string | null {
    const text = this.#textOf('name', field, start, null)?.value;
    if (field === undefined || text === undefined) return null;
    const offset = offsetOf(field.node);
    if (!NAME.test(text)) {
      this.#report(offset, null, 'name is not one of up to 64 letters, digits, _ . and -');
      return null;
    }
    if (text === PRICE || this.#features.includes(text)) {
      this.#report(offset, text, 'has the name of a feature, so that its signals would pass for it');
    }
    const { line } = this.#lines.linePos(offset);
    const taken = this.#names.get(text);
    if (taken !== undefined) this.#report(offset, text, `has the name of the rule in line ${taken}`);
    this.#names.set(text, taken ?? line);
    return text;
  }

  #condition(field: Field | undefined, start: number, rule: string | null) {
    const node = this.#textOf('condition', field, start, rule);
    if (node === undefined) return null;
    const compiled = this.#conditions.compile(node.value);
    if (!Array.isArray(compiled)) return { text: node.value, compiled };
    for (const { at, problem } of compiled) {
      this.#report(offsetInScalar(this.#text, node, at), rule, problem);
    }
    return null;
  }

  #textOf(
    key: 'name' | 'condition',
    field: Field | undefined,
    start: number,
    rule: string | null,
  ): Scalar<string> | undefined {
    const node = field?.node ?? null;
    if (field === undefined || (isScalar(node) && node.value === null)) {
      this.#report(field?.offset ?? start, rule, `has no ${key}`);
    } else if (isScalar(node) && typeof node.value === 'string') {
      return node as Scalar<string>;
    } else {
      this.#report(offsetOf(node), rule, `${key} must be text: put it in quotes`);
    }
    return undefined;
  }

  /** @returns undefined where there is none, NaN for a mistake that is reported */
  #number(
    key: 'signal' | 'score',
    field: Field | undefined,
    rule: string | null,
    [least, most] = [-Number.MAX_VALUE, Number.MAX_VALUE],
  ): number | undefined {
    if (field === undefined) return undefined;
    const { node, offset } = field;
    if (!isScalar(node) || typeof node.value !== 'number' || Number.isNaN(node.value)) {
      const isText = isScalar(node) && typeof node.value === 'string';
      const place = isScalar(node) && node.value === null ? offset : offsetOf(node);
      this.#report(place, rule, `${key} must be a number${isText ? ', not text' : ''}`);
      return Number.NaN;
    }
    if (node.value >= least && node.value <= most) return node.value;
    const range = key === 'score' ? `from ${least} to ${most}` : 'finite';
    this.#report(offsetOf(node), rule, `${key} must be ${range}`);
    return Number.NaN;
  }

  #mode(field: Field | undefined, rule: string | null): Rule['mode'] {
    if (field === undefined) return 'level';
    const { node } = field;
    const mode = MODES.find((one) => isScalar(node) && node.value === one);
    if (mode === undefined) this.#report(offsetOf(node), rule, `mode must be ${MODES.join(' or ')}`);
    return mode ?? 'level';
  }

  /** A condition without quotes is often no YAML: `? :`, `!` and `{` mean something there. */
  #hint(offset: number): string {
    const { line } = this.#lines.linePos(offset);
    const from = this.#lines.lineStarts[line - 1] ?? 0;
    const isPlain = /^[\s-]*condition:\s*[^\s"'|>]/.test(
      this.#text.slice(from, this.#lines.lineStarts[line]),
    );
    return isPlain ? ' (put the condition in quotes)' : '';
  }

  #resolved(node: ParsedNode | null): ParsedNode | null {
    return isAlias(node) ? ((node.resolve(this.#document) as ParsedNode | undefined) ?? null) : node;
  }

  #report(offset: number, rule: string | null, problem: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#mistakes.push({ line: Math.max(1, line), column: Math.max(1, col), rule, problem });
  }

  #throwMistakes(): void {
    if (this.#mistakes.length > 0) throw new RulesError(this.#file, this.#mistakes.slice(0, MISTAKES_MAX));
  }
}

function offsetOf(node: unknown): number {
  return (node as ParsedNode | null)?.range?.[0] ?? 0;
}
