/** The rules of a file, read again when it changes. */
import { open } from 'node:fs/promises';
import { envOf, type Env } from '../../../core/env.ts';
import { pause } from '../../../core/wait.ts';
import { NO_METER, type Meter } from '../../meter.ts';
import { RulesError } from './mistakes.ts';
import { parseRules } from './parse.ts';
import type { RuleSet } from './rule-set.ts';

const BYTES_MAX = 1024 * 1024;
const LOOK_MS = 1_000;

/**
 * @param features names of what a row's `values` holds, in that order
 * @throws RulesError, also when the file is missing or cannot be read
 */
export async function readRules(file: string, features: readonly string[]): Promise<RuleSet> {
  return parseRules(file, await readText(file), features);
}

export interface RulesFileOptions {
  file: string;
  features: readonly string[];
  meter?: Meter;
  env?: Partial<Env>;
}

/**
 * `rules` are those in effect; take them once for a step of work, so that all its rows see the same ones. A change is taken when
 * two looks in a row see it: a file that is being written can be right and yet lack its end. With a mistake in it, or gone, it is
 * logged and counted (errors_total, component inference, reason rules_file), and the rules before it stay in effect.
 */
export class RulesFile {
  readonly #options: Required<Omit<RulesFileOptions, 'env'>>;
  readonly #env: Env;
  #rules: RuleSet;
  /** what the rules in effect, or the last complaint, came of */
  #judged: string;
  /** what the last look saw */
  #seen: string;

  private constructor(options: Required<Omit<RulesFileOptions, 'env'>>, env: Env, text: string) {
    this.#options = options;
    this.#env = env;
    this.#rules = parseRules(options.file, text, options.features);
    this.#judged = text;
    this.#seen = text;
  }

  /** @throws RulesError: a start needs a file that is right */
  static async open({ meter = NO_METER, env, ...options }: RulesFileOptions): Promise<RulesFile> {
    return new RulesFile({ ...options, meter }, envOf(env), await readText(options.file));
  }

  get rules(): RuleSet {
    return this.#rules;
  }

  /** Looks at the file every second until `stopping` aborts. */
  async watch(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      await pause(LOOK_MS, stopping);
      if (!stopping.aborted) await this.look();
    }
  }

  /** One look; never rejects. */
  async look(): Promise<void> {
    const { file, features, meter } = this.#options;
    let text: string;
    let unread: RulesError | null = null;
    try {
      text = await readText(file);
    } catch (error) {
      if (!(error instanceof RulesError)) throw error;
      unread = error;
      text = error.message;
    }
    const isSettled = text === this.#seen;
    this.#seen = text;
    if (!isSettled || text === this.#judged) return;
    this.#judged = text;
    try {
      if (unread !== null) throw unread;
      this.#rules = parseRules(file, text, features);
      this.#env.log('info', 'The rules were read again', { file, rules: this.#rules.rules.length });
    } catch (error) {
      if (!(error instanceof RulesError)) throw error;
      meter.count('errors_total', { component: 'inference', reason: 'rules_file' });
      this.#env.log('error', 'The rules file is wrong: the rules before it stay', { file, err: error });
    }
  }
}

async function readText(file: string): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size > BYTES_MAX) throw refusal(file, `has ${size} bytes; at most ${BYTES_MAX}`);
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof RulesError) throw error;
    const code = (error as { code?: string }).code ?? (error as Error).message;
    throw refusal(file, `cannot be read (${code}); inference.adapters.rules.file names the file`);
  }
}

function refusal(file: string, problem: string): RulesError {
  return new RulesError(file, [{ line: 1, column: 1, rule: null, problem }]);
}
