import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Skipped, type Figures, type ScenarioContext } from '../harness.ts';
import { API_TOKEN, serveApi } from './program.ts';

export interface ConformanceSize {
  /** cases that are made up for each operation */
  examples: number;
  /** also chains of calls, each with what the one before answered */
  isStateful: boolean;
}

const INSTALLED = fileURLToPath(new URL('../../.venv/bin/schemathesis', import.meta.url));
const CONFIG = fileURLToPath(new URL('schemathesis.toml', import.meta.url));
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const SHOWN_CHARS = 6_000;

/** As it comes, behind the last colour. */
const CASES = /(\d+) generated/;

/**
 * schemathesis makes up requests from the description, right and wrong ones, and compares the answers with it.
 * SCHEMATHESIS names the program where it is not in test/.venv.
 */
export async function conformsToItsDescription(
  context: ScenarioContext,
  { examples, isStateful }: ConformanceSize,
): Promise<Figures> {
  const program = process.env['SCHEMATHESIS'] ?? INSTALLED;
  if (!existsSync(program))
    throw new Skipped('no schemathesis in test/.venv (scripts/test-machine.sh installs it)');
  // it is as fast as it can, and shows wrong tokens
  const api = await serveApi(await context.database(), {
    settings: 'api:\n  rate_limit: 0\n  auth_failures: 0\n',
  });
  const folder = await mkdtemp(join(tmpdir(), 'schemathesis-'));
  try {
    const description = join(folder, 'openapi.json');
    const { text, status } = await api.ask({ path: '/openapi.json' });
    assert.equal(status, 200);
    await writeFile(description, text);
    const seed = context.random.whole(0, 2 ** 31 - 1);
    const phases = ['examples', 'coverage', 'fuzzing', ...(isStateful ? ['stateful'] : [])];
    const args = [
      `--config-file=${CONFIG}`,
      'run',
      description,
      `--url=${api.url}`,
      `--header=Authorization: Bearer ${API_TOKEN}`,
      `--phases=${phases.join(',')}`,
      `--max-examples=${examples}`,
      `--seed=${seed}`,
      '--generation-database=none',
      '--continue-on-failure',
      '--no-color',
    ];
    context.say(`schemathesis, seed ${seed}`);
    const { code, output } = await run(program, args, folder);
    const found = output.indexOf('= FAILURES =');
    assert.equal(
      code,
      0,
      `schemathesis ended with ${code}\n${output.slice(Math.max(0, found)).slice(0, SHOWN_CHARS)}`,
    );
    assert.equal(api.program.end, null, 'the API still runs');
    const failed = api.lines.filter((line) => line.includes('"level":"error"'));
    assert.deepEqual(failed, [], 'it logged no error');
    const operations = Object.values((JSON.parse(text) as { paths: Record<string, object> }).paths);
    return {
      operations: operations.flatMap((path) => Object.keys(path)).length,
      cases: Number(CASES.exec(output)?.[1] ?? 0),
      'answers with 5xx': 0,
      'answers that are not described': 0,
    };
  } finally {
    await api.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function run(
  program: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` }),
    );
  });
}
