import type { Command } from 'commander';
import { registerRulesTest } from './test.ts';

/** `mdp rules …`: the rules of the inference (configs/rules.yaml). */
export function registerRules(program: Command): void {
  const rules = program
    .command('rules')
    .description('the rules that make signals of features (configs/rules.yaml)');
  registerRulesTest(rules);
}
