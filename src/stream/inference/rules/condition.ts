/** Conditions of rules: CEL over numbers alone, so that one can neither reach anything but its variables nor run for long. */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';

/** An evaluation visits each node at most once: these bound its time as well. */
const CHARS_MAX = 1_000;
const NODES_MAX = 200;
const DEPTH_MAX = 32;

/** Values by variable; what the condition names is there and finite. */
export type Variables = Readonly<Record<string, number>>;

export interface Condition {
  /** @throws EvaluationError for whole numbers alone: divided by zero, or beyond 64 bits */
  readonly holds: (variables: Variables) => boolean;
  /** the variables it names, each once */
  readonly names: readonly string[];
}

export interface ConditionMistake {
  /** offset in the condition, in UTF-16 units; its length where something is missing at the end */
  at: number;
  problem: string;
}

export class Conditions {
  readonly #environment: Environment;
  readonly #known: ReadonlySet<string>;

  /** @param variables their names: letters, digits and _; all are doubles */
  constructor(variables: readonly string[]) {
    this.#known = new Set(variables);
    this.#environment = new Environment({ limits: { maxAstNodes: NODES_MAX, maxDepth: DEPTH_MAX } });
    for (const name of this.#known) this.#environment.registerVariable(name, 'double');
    // people write 2 as often as 2.0; CEL itself only compares the two by < and >
    for (const [operator, apply] of [
      ['+', (a: number, b: number) => a + b],
      ['-', (a: number, b: number) => a - b],
      ['*', (a: number, b: number) => a * b],
      ['/', (a: number, b: number) => a / b],
    ] as const) {
      this.#environment
        .registerOperator(`double ${operator} int: double`, (a: number, b: bigint) => apply(a, Number(b)))
        .registerOperator(`int ${operator} double: double`, (a: bigint, b: number) => apply(Number(a), b));
    }
    // and with it the mirrored one, and !=
    this.#environment.registerOperator(
      'double == int: bool',
      (a: number | bigint, b: number | bigint) => Number(a) === Number(b),
    );
  }

  /** @returns the condition, or all that is wrong with it */
  compile(text: string): Condition | ConditionMistake[] {
    if (text.trim() === '') return [{ at: 0, problem: 'the condition is empty' }];
    if (text.length > CHARS_MAX) {
      return [{ at: 0, problem: `the condition has ${text.length} characters; at most ${CHARS_MAX}` }];
    }
    let expression: ReturnType<Environment['parse']>;
    try {
      expression = this.#environment.parse(text);
    } catch (error) {
      return [mistakeOf(error)];
    }
    const names = new Set<string>();
    const mistakes: ConditionMistake[] = [];
    this.#visit(expression.ast, names, mistakes);
    if (mistakes.length > 0) return mistakes;
    const { valid, error, type } = expression.check();
    if (!valid) return [mistakeOf(error)];
    if (type !== 'bool') return [{ at: 0, problem: `the condition is ${type}, not true or false` }];
    return { holds: (variables) => expression(variables) === true, names: [...names] };
  }

  /** Lets through what costs a bounded time and yields a number or a truth value: no calls, lists or text. */
  #visit(node: ASTNode, names: Set<string>, mistakes: ConditionMistake[]): void {
    const refuse = (problem: string): void => {
      mistakes.push({ at: node.start, problem });
    };
    switch (node.op) {
      case 'value':
        if (!['number', 'bigint', 'boolean'].includes(typeof node.args))
          refuse('only numbers, true and false can be written in a condition');
        return;
      case 'id':
        if (this.#known.has(node.args)) names.add(node.args);
        else refuse(`unknown variable ${node.args}; known are ${[...this.#known].sort().join(', ')}`);
        return;
      case '!_':
      case '-_':
        this.#visit(node.args, names, mistakes);
        return;
      case '?:':
      case '||':
      case '&&':
      case '+':
      case '-':
      case '*':
      case '/':
      case '%':
      case '<':
      case '<=':
      case '>':
      case '>=':
      case '==':
      case '!=':
        for (const operand of node.args) this.#visit(operand, names, mistakes);
        return;
      case 'call':
      case 'rcall':
        refuse(`a condition calls no functions, and not ${node.args[0]}()`);
        return;
      case '.':
      case '.?':
      case '[]':
      case '[?]':
        refuse('variables are numbers, without fields or elements');
        return;
      case 'in':
      case 'list':
      case 'map':
        refuse('a condition has no lists or maps');
    }
  }
}

/** CEL's error without its drawing; errors.d.ts has both fields on each of its classes. */
function mistakeOf(error: unknown): ConditionMistake {
  const { summary, range } = error as { summary?: string; range?: { start: number } };
  const said = summary ?? (error as Error).message;
  return {
    at: range?.start ?? 0,
    problem: said
      .replace(/^Unexpected token: EOF$/, 'the condition ends where a value is missing')
      .replace(/^(Expected \w+), got EOF$/, '$1 before the end of the condition')
      .replace(/^Exceeded maxAstNodes \((\d+)\)$/, 'the condition has more than $1 parts')
      .replace(/^Exceeded maxDepth \((\d+)\)$/, 'the condition is nested more than $1 deep')
      .replace(/^Unexpected character: =$/, 'unexpected character: = (CEL compares by == and >=)')
      .replace(/^Unterminated string$/, 'text without its closing quote'),
  };
}
