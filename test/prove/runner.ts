/**
 * Runs scenarios one after the other and prints one table with the figures of each line of what an issue must show.
 *
 *   SEED=<u32>     repeats the random choices of a run
 *   ONLY=<text>    runs the scenarios whose name holds the text
 *   PROVE=small    the sizes of the tests, to try the run itself
 */
import { startPostgres, type TestPostgres, type TestPostgresOptions } from '../support/servers/postgres.ts';
import { seededRandom } from '../support/random.ts';
import { Skipped, type Figures, type ScenarioContext } from './harness.ts';

export interface Scenario {
  /** of "Must show" */
  line: string;
  name: string;
  run(): Promise<Figures>;
}

interface Outcome {
  scenario: Scenario;
  figures: Figures;
  failure: Error | null;
  /** why it could not be tried here */
  skipped: string | null;
  seconds: number;
}

const isSmall = process.env['PROVE'] === 'small';
export const random = seededRandom();

export function sized<T>(full: T, small: T): T {
  return isSmall ? small : full;
}

export function say(text: string): void {
  process.stderr.write(`  ${text}\n`);
}

export async function onEmbedded(
  options: TestPostgresOptions,
  work: (context: ScenarioContext, server: TestPostgres) => Promise<Figures>,
): Promise<Figures> {
  const server = await startPostgres(options);
  try {
    return await work({ database: () => server.createDatabase(), random, say }, server);
  } finally {
    await server.stop();
  }
}

/**
 * Prints as it goes on stderr and the table on stdout; sets the exit code: 1 when anything does not hold.
 * @param remarks lines below the table
 */
export async function prove(scenarios: readonly Scenario[], remarks: readonly string[] = []): Promise<void> {
  process.stderr.write(`SEED=${random.seed}\n`);
  const only = process.env['ONLY'] ?? '';
  const chosen = scenarios
    .filter(({ name }) => name.includes(only))
    .sort((a, b) => a.line.localeCompare(b.line));
  const outcomes: Outcome[] = [];
  for (const scenario of chosen) outcomes.push(await attempt(scenario));
  process.stdout.write(`\n${table(outcomes)}\n\nSEED=${random.seed}\n`);
  for (const remark of remarks) process.stdout.write(`${remark}\n`);
  process.exitCode = outcomes.length > 0 && outcomes.every(({ failure }) => failure === null) ? 0 : 1;
}

async function attempt(scenario: Scenario): Promise<Outcome> {
  process.stderr.write(`${scenario.line}: ${scenario.name}\n`);
  const beganMs = performance.now();
  const outcome: Outcome = { scenario, figures: {}, failure: null, skipped: null, seconds: 0 };
  try {
    outcome.figures = await scenario.run();
    say(figureText(outcome.figures));
  } catch (error) {
    if (error instanceof Skipped) {
      outcome.skipped = error.message;
      say(`skipped: ${error.message}`);
    } else {
      outcome.failure = error as Error;
      say(`FAILED: ${outcome.failure.stack ?? outcome.failure.message}`);
    }
  }
  outcome.seconds = (performance.now() - beganMs) / 1000;
  return outcome;
}

export function figureText(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name}: ${value}`)
    .join('; ');
}

function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ scenario, figures, failure, skipped, seconds }) => [
    scenario.line,
    failure !== null ? 'FAILS' : skipped !== null ? 'skipped' : 'holds',
    scenario.name,
    `${seconds.toFixed(0)} s`,
    skipped ?? figureText(figures),
  ]);
  const all = [['line', '', 'what', 'took', 'figures'], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
