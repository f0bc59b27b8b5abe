/**
 * Runs tap over test files (all of test/, or the globs and paths given) and ends with one plain line that adds up what
 * tap reported: the tests of each file, not their single assertions. Exit code 1 when anything failed.
 */
import { spawn } from 'node:child_process';
import { globSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';

const asked = process.argv.slice(2);
const patterns =
  asked.length === 0
    ? ['test/**/*.test.ts']
    : asked.map((path) => (isFolder(path) ? `${path}/**/*.test.ts` : path));
const files = [...new Set(patterns.flatMap((pattern) => globSync(pattern)))].sort();
if (files.length === 0) {
  console.error(`no test file matches ${patterns.join(' ')}`);
  process.exit(1);
}
// tests of real processes share the machine's cores: one file at a time; unit tests go side by side, and those of the bus,
// which wait for servers, takeovers and restarts most of their time
const QUICK = /^test\/(unit|ops|oracle)\//;
const WAITING = /^test\/(conformance|integration\/(bus|stream)|fault\/(bus|bars))\//;
const quick = files.filter((file) => QUICK.test(file));
const waiting = files.filter((file) => WAITING.test(file));
const heavy = files.filter((file) => !QUICK.test(file) && !WAITING.test(file));
const sum = { passed: 0, failed: 0, skipped: 0 };
let failedFiles = 0;
for (const [group, jobs] of [
  [quick, 2],
  [waiting, 2],
  [heavy, 1],
] as const) {
  if (group.length > 0) failedFiles += await runTap(group, jobs);
}
if (failedFiles > 0 && sum.failed === 0) sum.failed = failedFiles;
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exit(sum.failed > 0 || sum.passed === 0 ? 1 : 0);

/** Resolves with 1 when tap itself failed (a file that crashed or timed out), else 0. */
async function runTap(group: readonly string[], jobs: number): Promise<number> {
  const tap = spawn('node_modules/.bin/tap', ['run', '--reporter=tap', `--jobs=${jobs}`, ...group], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: `${process.cwd()}/node_modules/.bin:${process.env['PATH']}` },
  });
  for await (const line of createInterface({ input: tap.stdout })) report(line);
  const code = await new Promise<number | null>((resolve) => {
    if (tap.exitCode === null) tap.once('exit', resolve);
    else resolve(tap.exitCode);
  });
  return code === 0 ? 0 : 1;
}

/** Level 0 are files, level 1 (four spaces) their tests. Passing assertions inside are not worth a line. */
function report(line: string): void {
  const test = /^ {4}(ok|not ok) \d+ - (.*)$/.exec(line);
  if (test !== null && !/ - no tests found/.test(line)) {
    const skipped = /# (SKIP|TODO)/i.test(line);
    if (skipped) sum.skipped += 1;
    else if (test[1] === 'ok') sum.passed += 1;
    else sum.failed += 1;
  }
  const noise = /^ {8,}ok \d+|^ *(\d+\.\.\d+|# (Subtest|time|No coverage|\{))|^TAP version/.test(line);
  if (!noise && line.trim() !== '') console.log(line);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
