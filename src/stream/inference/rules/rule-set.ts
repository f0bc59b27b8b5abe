/** Rules over rows of features: pure and synchronous, so that the same rows give the same signals. */
import type { Condition } from './condition.ts';

/** level: fires at every row whose condition holds. edge: only where it did not hold at the symbol's row before. */
export const MODES = ['level', 'edge'] as const;

export interface Rule {
  readonly name: string;
  /** CEL, as written */
  readonly condition: string;
  /** the variables it names */
  readonly variables: readonly string[];
  /** value of the signal */
  readonly signal: number;
  /** 0 to 1; null: none */
  readonly score: number | null;
  readonly mode: (typeof MODES)[number];
}

/** A rule with its condition ready to run. */
export interface CompiledRule {
  readonly rule: Rule;
  readonly condition: Condition;
}

/** The part of a row of features that rules look at. */
export interface RuleRow {
  /** the last one */
  readonly price: number;
  /** by feature, in the order that the rules were read with; NaN: cold */
  readonly values: Float64Array;
}

/** What rules say of a row; lists that are empty are shared, and none is changed later. */
export interface Evaluation {
  /** in the order of the file */
  readonly fired: readonly Rule[];
  /** names of the `edge` rules whose condition holds: the state of the symbol, for its next row */
  readonly held: readonly string[];
  /** rules whose condition has no value on this row, such as 1 / 0; they do not fire */
  readonly failed: readonly Rule[];
}

/** The variable that is not a feature: the last price. */
export const PRICE = 'price';

const NONE: readonly never[] = [];

export class RuleSet {
  readonly rules: readonly Rule[];
  readonly #compiled: readonly CompiledRule[];
  readonly #featureCount: number;
  /** Where in a row the variables are that any rule names; −1: the price. */
  readonly #places: readonly { name: string; at: number }[];
  /** of the row in hand; one object for all, because a row has more variables than rules name */
  readonly #variables: Record<string, number>;

  /** @param features names of what `values` of a row holds, in that order */
  constructor(compiled: readonly CompiledRule[], features: readonly string[]) {
    this.rules = compiled.map(({ rule }) => rule);
    this.#compiled = compiled;
    this.#featureCount = features.length;
    const names = [...new Set(compiled.flatMap(({ condition }) => condition.names))].sort();
    this.#places = names.map((name) => ({ name, at: features.indexOf(name) }));
    this.#variables = Object.fromEntries(names.map((name) => [name, Number.NaN]));
  }

  /**
   * @param held of the evaluation of the symbol's row before; [] for its first. By name, so that it outlives a change of the file
   * @throws Error when the row is of another set of features
   */
  evaluate(row: RuleRow, held: readonly string[]): Evaluation {
    if (row.values.length !== this.#featureCount)
      throw new Error(`a row of ${row.values.length} features, not ${this.#featureCount}`);
    const variables = this.#variables;
    for (const { name, at } of this.#places) variables[name] = at < 0 ? row.price : row.values[at];
    let fired: Rule[] | null = null;
    let holding: string[] | null = null;
    let failed: Rule[] | null = null;
    for (const { rule, condition } of this.#compiled) {
      if (!this.#isWarm(condition)) continue;
      try {
        if (!condition.holds(variables)) continue;
      } catch {
        (failed ??= []).push(rule);
        continue;
      }
      if (rule.mode === 'edge') {
        (holding ??= []).push(rule.name);
        if (held.includes(rule.name)) continue;
      }
      (fired ??= []).push(rule);
    }
    return { fired: fired ?? NONE, held: holding ?? NONE, failed: failed ?? NONE };
  }

  /** Looked at apart from the condition: `!(x > 1)` is true of NaN. */
  #isWarm({ names }: Condition): boolean {
    for (const name of names) if (!Number.isFinite(this.#variables[name])) return false;
    return true;
  }
}
