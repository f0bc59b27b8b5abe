import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const RULES_FILE = 'configs/rules.yaml';
const PACKAGED = fileURLToPath(new URL(`../../../../${RULES_FILE}`, import.meta.url));

/** The rules where no file is named: those of the working directory, or else those of the package. */
export function defaultRulesFile(): string {
  return existsSync(RULES_FILE) ? RULES_FILE : PACKAGED;
}
