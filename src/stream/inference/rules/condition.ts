/** Conditions of rules: CEL over numbers alone, so that one can neither reach anything but its variables nor run for long. */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { celMistake, registerMixedNumbers, type CelMistake } from '../../cel.ts';

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

export class Conditions {
  readonly #environment: Environment;
  readonly #known: ReadonlySet<string>;

  /** @param variables their names: letters, digits and _; all are doubles */
  constructor(variables: readonly string[]) {
    this.#known = new Set(variables);
    this.#environment = new Environment({ limits: { maxAstNodes: NODES_MAX, maxDepth: DEPTH_MAX } });
    for (const name of this.#known) this.#environment.registerVariable(name, 'double');
    registerMixedNumbers(this.#environment);
  }

  /** @returns the condition, or all that is wrong with it */
  compile(text: string): Condition | CelMistake[] {
    if (text.trim() === '') return [{ at: 0, problem: 'the condition is empty' }];
    if (text.length > CHARS_MAX) {
      return [{ at: 0, problem: `the condition has ${text.length} characters; at most ${CHARS_MAX}` }];
    }
    let expression: ReturnType<Environment['parse']>;
    try {
      expression = this.#environment.parse(text);
    } catch (error) {
      return [celMistake(error, 'condition')];
    }
    const names = new Set<string>();
    const mistakes: CelMistake[] = [];
    this.#visit(expression.ast, names, mistakes);
    if (mistakes.length > 0) return mistakes;
    const { valid, error, type } = expression.check();
    if (!valid) return [celMistake(error, 'condition')];
    if (type !== 'bool') return [{ at: 0, problem: `the condition is ${type}, not true or false` }];
    return { holds: (variables) => expression(variables) === true, names: [...names] };
  }

  /** Lets through what costs a bounded time and yields a number or a truth value: no calls, lists or text. */
  #visit(node: ASTNode, names: Set<string>, mistakes: CelMistake[]): void {
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
