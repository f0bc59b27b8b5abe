import type { Command } from 'commander';
import { registerConvert } from './convert.ts';
import { registerScore } from './score.ts';

/** `mdp models`: the models of `mdp stream infer`. */
export function registerModels(program: Command): void {
  const models = program.command('models').description('models that make signals of features');
  registerConvert(models);
  registerScore(models);
}
