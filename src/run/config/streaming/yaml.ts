/** YAML with `${VAR:-default}` and messages that name the line. */
import { isMap, isScalar, LineCounter, parseDocument, Scalar, visit, type Document } from 'yaml';
import type { z } from 'zod';

/** A mistake in a file, with its position. */
export interface YamlProblem {
  /** from 1 */
  line: number;
  /** keys joined by dots, '' for the whole file */
  path: string;
  problem: string;
}

/** Every mistake at once; the program that catches it prints the message and exits with 2. */
export class YamlError extends Error {
  override name = 'YamlError';
  readonly problems: readonly YamlProblem[];

  constructor(file: string, problems: readonly YamlProblem[]) {
    const lines = problems.map(
      ({ line, path, problem }) => `  ${file}:${line}: ${path === '' ? '' : `${path} `}${problem}`,
    );
    super(
      `${problems.length === 1 ? 'A mistake' : `${problems.length} mistakes`} in ${file}:\n${lines.join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * The value of a file by its schema. Text `${VAR}` and `${VAR:-default}` is replaced by what `lookup` returns (null: unset),
 * before its type is decided, so that an unquoted `${PORT:-9101}` is a number.
 *
 * @throws YamlError with everything that is wrong: syntax, unset variables, unknown keys, values
 */
export function readYaml<T extends z.ZodType>(
  file: string,
  text: string,
  schema: T,
  lookup: (name: string) => string | null,
): z.output<T> {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const lineAt = (offset: number): number => Math.max(1, counter.linePos(offset).line);
  const problems: YamlProblem[] = document.errors.map((error) => ({
    line: lineAt(error.pos[0]),
    path: '',
    problem: error.message,
  }));
  if (problems.length > 0) throw new YamlError(file, problems);
  expand(document, lookup, (offset, problem) => problems.push({ line: lineAt(offset), path: '', problem }));
  if (problems.length > 0) throw new YamlError(file, problems);
  const result = schema.safeParse(document.toJS() ?? {});
  if (result.success) return result.data;
  for (const issue of result.error.issues) problems.push(...problemsOf(issue, document, lineAt));
  throw new YamlError(
    file,
    problems.sort((a, b) => a.line - b.line),
  );
}

const VARIABLE = /\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g;

function expand(
  document: Document,
  lookup: (name: string) => string | null,
  report: (offset: number, problem: string) => void,
): void {
  visit(document, {
    Scalar(_key, node) {
      if (typeof node.value !== 'string' || !node.value.includes('${')) return;
      const expanded = node.value.replace(VARIABLE, (_all, name: string, initial: string | undefined) => {
        const value = lookup(name) ?? initial;
        if (value === undefined) report(node.range?.[0] ?? 0, `\${${name}} is not set and has no default`);
        return value ?? '';
      });
      node.value = node.type === Scalar.PLAIN ? plainValue(expanded) : expanded;
    },
  });
}

/** The value this text has as an unquoted scalar. */
function plainValue(text: string): unknown {
  const { contents, errors } = parseDocument(text);
  return errors.length === 0 && isScalar(contents) ? contents.value : text;
}

function problemsOf(
  issue: z.core.$ZodIssue,
  document: Document,
  lineAt: (offset: number) => number,
): YamlProblem[] {
  const path = issue.path.map(String);
  if (issue.code !== 'unrecognized_keys') {
    return [{ line: lineAt(offsetOf(document, path)), path: path.join('.'), problem: issue.message }];
  }
  return issue.keys.map((key) => ({
    line: lineAt(offsetOf(document, [...path, key])),
    path: [...path, key].join('.'),
    problem: 'is not a key of this file',
  }));
}

/** Position of a key, or of its nearest parent when it is absent. */
function offsetOf(document: Document, path: readonly string[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = document.getIn(path.slice(0, length - 1), true) ?? document.contents;
    const key = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
      if (pair !== undefined && isScalar(pair.key)) return pair.key.range?.[0] ?? 0;
    }
    const node = document.getIn(path.slice(0, length), true);
    if (isScalar(node) || isMap(node)) return node.range?.[0] ?? 0;
  }
  return 0;
}
