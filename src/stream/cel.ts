/** What all CEL of this program has in common: numbers that mix, and mistakes with their place. */
import type { Environment } from '@marcbachmann/cel-js';

export interface CelMistake {
  /** offset in the text, in UTF-16 units; its length where something is missing at the end */
  at: number;
  problem: string;
}

/** People write 2 as often as 2.0; CEL itself only compares the two, by < and >. */
export function registerMixedNumbers(environment: Environment): void {
  for (const [operator, apply] of [
    ['+', (a: number, b: number) => a + b],
    ['-', (a: number, b: number) => a - b],
    ['*', (a: number, b: number) => a * b],
    ['/', (a: number, b: number) => a / b],
  ] as const) {
    environment
      .registerOperator(`double ${operator} int: double`, (a: number, b: bigint) => apply(a, Number(b)))
      .registerOperator(`int ${operator} double: double`, (a: bigint, b: number) => apply(Number(a), b));
  }
  // and with it the mirrored one, and !=
  environment.registerOperator(
    'double == int: bool',
    (a: number | bigint, b: number | bigint) => Number(a) === Number(b),
  );
}

/**
 * CEL's error without its drawing; each of its classes has both fields.
 * @param noun what the text is called
 */
export function celMistake(error: unknown, noun: string): CelMistake {
  const { summary, range } = error as { summary?: string; range?: { start: number } };
  const said = summary ?? (error as Error).message;
  return {
    at: range?.start ?? 0,
    problem: said
      .replace(/^Unexpected token: EOF$/, `the ${noun} ends where a value is missing`)
      .replace(/^(Expected \w+), got EOF$/, `$1 before the end of the ${noun}`)
      .replace(/^Exceeded maxAstNodes \((\d+)\)$/, `the ${noun} has more than $1 parts`)
      .replace(/^Exceeded maxDepth \((\d+)\)$/, `the ${noun} is nested more than $1 deep`)
      .replace(/^Unexpected character: =$/, 'unexpected character: = (CEL compares by == and >=)')
      .replace(/^Unterminated string$/, 'text without its closing quote'),
  };
}
