/** A mistake in a rules file. */
export interface RulesMistake {
  /** from 1 */
  line: number;
  /** from 1, in UTF-16 units */
  column: number;
  /** name of the rule; null where there is none */
  rule: string | null;
  problem: string;
}

/** Every mistake of a rules file at once, in the order of the file. */
export class RulesError extends Error {
  override name = 'RulesError';
  readonly mistakes: readonly RulesMistake[];

  constructor(file: string, mistakes: readonly RulesMistake[]) {
    const sorted = mistakes.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const lines = sorted.map(
      ({ line, column, rule, problem }) =>
        `  ${file}:${line}:${column}: ${rule === null ? '' : `rule ${rule}: `}${problem}`,
    );
    super(
      `${lines.length === 1 ? 'A mistake' : `${lines.length} mistakes`} in ${file}:\n${lines.join('\n')}`,
    );
    this.mistakes = sorted;
  }
}
