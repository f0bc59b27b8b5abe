/** Filters over what is on the bus: CEL over the fields of events, signals and dead letters. */
import { Environment, type ASTNode } from '@marcbachmann/cel-js';
import { celMistake, registerMixedNumbers, type CelMistake } from './cel.ts';

/** A filter over records. One that does not fit a record, as `price > 1` where there is no price, does not match it. */
export type Where = (fields: Readonly<Record<string, unknown>>) => boolean;

/**
 * Whose process an expression runs in. `own`: its author's, all of CEL. `foreign`: a server's; then nothing in it takes
 * longer than its length and the record's say (no patterns, no loops, no names for values).
 */
export type Whose = 'own' | 'foreign';

/** One that a record lacks is null, any other name is a mistake. */
const FIELDS = [
  'ver',
  'kind',
  'provider',
  'symbol',
  'interval',
  'src_ts',
  'ingest_ts',
  'timestamp',
  'ts',
  'seq',
  'event_id',
  'price',
  'size',
  'bid',
  'ask',
  'side',
  'o',
  'h',
  'l',
  'c',
  'v',
  'volume',
  'origin',
  'replay_run_id',
  'name',
  'value',
  'score',
  'meta',
  'topic',
  'msg_id',
  'group',
  'reason',
  'detail',
  'at',
  'raw_bytes',
];
const ABSENT = Object.fromEntries(FIELDS.map((name) => [name, null]));

/** Of foreign expressions: each costs at most as much as its operands are long. */
const BOUNDED_FUNCTIONS: ReadonlySet<string> = new Set([
  'has',
  'size',
  'startsWith',
  'endsWith',
  'contains',
  'lowerAscii',
  'upperAscii',
  'int',
  'double',
  'string',
  'bool',
]);

/** Filters are typed by hand: limits far below generated ones. */
const CHARS_MAX = 10_000;
const NODES_MAX = 1_000;
const DEPTH_MAX = 64;

const environment = new Environment({ limits: { maxAstNodes: NODES_MAX, maxDepth: DEPTH_MAX } });
for (const name of FIELDS) environment.registerVariable(name, 'dyn');
registerMixedNumbers(environment);

/** @returns the filter, or the first that is wrong with the expression */
export function compileWhere(text: string, whose: Whose): Where | CelMistake {
  if (text.length > CHARS_MAX)
    return { at: CHARS_MAX, problem: `the expression has more than ${CHARS_MAX} characters` };
  let expression: ReturnType<Environment['parse']>;
  try {
    expression = environment.parse(text);
  } catch (error) {
    return celMistake(error, 'expression');
  }
  const unbounded = whose === 'own' ? null : firstUnbounded(expression.ast);
  if (unbounded !== null) return unbounded;
  const { valid, error, type } = expression.check();
  if (!valid) return celMistake(error, 'expression');
  if (type !== 'bool' && type !== 'dyn')
    return { at: 0, problem: `the expression is ${type}, not true or false` };
  return (fields) => {
    try {
      return expression({ ...ABSENT, ...fields }) === true;
    } catch {
      return false;
    }
  };
}

/** The first call of what is not known to be cheap; the walk is as deep as DEPTH_MAX allows. */
function firstUnbounded(node: ASTNode): CelMistake | null {
  if (node.op === 'call' || node.op === 'rcall') {
    const [name] = node.args;
    if (!BOUNDED_FUNCTIONS.has(name)) {
      const known = [...BOUNDED_FUNCTIONS].sort().join(', ');
      return { at: node.start, problem: `the function ${name} is not to be had here; these are: ${known}` };
    }
  }
  for (const operand of nodesIn(node.args)) {
    const found = firstUnbounded(operand);
    if (found !== null) return found;
  }
  return null;
}

/** Operands are nodes, lists of nodes and lists of pairs of nodes, among names and values. */
function nodesIn(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(nodesIn);
  return typeof args === 'object' && args !== null && 'op' in args ? [args as ASTNode] : [];
}
