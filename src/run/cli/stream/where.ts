import { Environment } from '@marcbachmann/cel-js';
import { InvalidArgumentError } from 'commander';

/** A filter over records; throws CEL's error when the expression does not fit a record. */
export type Where = (fields: Readonly<Record<string, unknown>>) => boolean;

/** The fields of events and signals: one that a record lacks is null, any other name is an error. */
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

/** Filters are typed by hand: limits far below generated ones. */
const NODES_MAX = 1_000;

const environment = new Environment({ limits: { maxAstNodes: NODES_MAX } });
for (const name of FIELDS) environment.registerVariable(name, 'dyn');
// JSON numbers are doubles, and people write 2 as often as 2.0
for (const [operator, apply] of [
  ['+', (a: number, b: number) => a + b],
  ['-', (a: number, b: number) => a - b],
  ['*', (a: number, b: number) => a * b],
  ['/', (a: number, b: number) => a / b],
] as const) {
  environment.registerOperator(`double ${operator} int`, (a: number, b: bigint) => apply(a, Number(b)));
  environment.registerOperator(`int ${operator} double`, (a: bigint, b: number) => apply(Number(a), b));
}

/** For commander's argParser: a CEL expression over the fields of a record. */
export function whereExpression(text: string): Where {
  let expression: ReturnType<typeof environment.parse>;
  try {
    expression = environment.parse(text);
    const { valid, error, type } = expression.check();
    if (!valid) throw error ?? new Error('is not valid');
    if (type !== 'bool' && type !== 'dyn') throw new Error(`is ${type}, not true or false`);
  } catch (error) {
    const [message = ''] = (error as Error).message.split('\n');
    throw new InvalidArgumentError(
      `It must be a CEL expression such as symbol == "SPY" && price > 100: ${message}`,
    );
  }
  return (fields) => expression({ ...ABSENT, ...fields }) === true;
}
