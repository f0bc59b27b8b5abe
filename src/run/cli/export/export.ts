import type { Command } from 'commander';
import type { ExportEnvironment } from './environment.ts';
import { registerFeatures } from './features.ts';
import { registerTables } from './tables.ts';

/** `mdp export`: what is stored, as files. */
export function registerExport(program: Command, env: ExportEnvironment): void {
  const exports = program.command('export').description('what is stored, as files');
  registerTables(exports, env);
  registerFeatures(exports, env);
}
