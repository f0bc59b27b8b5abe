/**
 * Runs test files (the globs, folders and paths given; all of test/ with --all and no path), each in a process of its own, and
 * ends with the ten slowest files, every test that was skipped with its reason, and one plain line that adds up the tests of
 * all files: not their single assertions. Exit code 1 when anything failed, or when nothing ran; 2 when nothing was named.
 *
 * The suite runs as a stranger's would: without what lies outside this repository. Where the real ticks are there, the tests
 * that were skipped for want of them run afterwards, on top.
 */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { runFile, type FileResult } from './test/run-file.ts';
import { needsServers, schedule } from './test/schedule.ts';
import { startServers } from './test/servers.ts';
import { REAL_TICKS_ABSENT, realTicks } from '../test/support/chain/content/real-ticks.ts';

const SLOWEST = 10;

const USAGE = `usage: node scripts/test.ts PATH…   these files, folders or globs
       node scripts/test.ts --all   all of test/, some 20 minutes on real servers: "make test" installs what they need`;

const paths = process.argv.slice(2).filter((argument) => argument !== '--all');
const isAll = paths.length < process.argv.length - 2;
// no argument is a mistake and not everything: the whole suite keeps a machine busy for a long time
if ((paths.length === 0 && !isAll) || paths.some((path) => path.startsWith('-'))) {
  console.error(USAGE);
  process.exit(2);
}
// paths win, because npm test -- PATH adds them to the --all of package.json
const patterns =
  paths.length === 0
    ? ['test/**/*.test.ts']
    : paths.map((path) => (isFolder(path) ? join(path, '**/*.test.ts') : path));
const files = [...new Set(patterns.flatMap((pattern) => globSync(pattern)))].sort();
if (files.length === 0) {
  console.error(`no test file matches ${patterns.join(' ')}`);
  process.exit(1);
}

const beganMs = performance.now();
const timeoutMs = 1000 * Number(/^timeout: (\d+)$/m.exec(readFileSync('.taprc', 'utf8'))?.[1]);
const servers = files.filter(needsServers).length > 1 ? await startServers() : null;
const env = {
  ...process.env,
  ...servers?.env,
  PATH: `${process.cwd()}/node_modules/.bin:${process.env['PATH']}`,
  // compiled once and not in each of some hundred processes
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(process.cwd(), 'node_modules/.cache/compile'),
};
const results: FileResult[] = [];

await schedule(files, async (file) => {
  took(await runFile(file, { env: { ...env, WITHOUT_SHARED: '1' }, timeoutMs }));
});
if (existsSync(realTicks.path)) await withRealTicks();
await servers?.stop();
process.exitCode = summarise() ? 0 : 1;

/** What was skipped for want of the real ticks, now with them; the place of the skipped test is taken by its outcome. */
async function withRealTicks(): Promise<void> {
  const wanting = results.filter(({ skipped }) => skipped.some(({ reason }) => reason === REAL_TICKS_ABSENT));
  if (wanting.length > 0)
    console.log('# on top: the tests of the real ticks, which lie beside this repository');
  for (const before of wanting) {
    const names = before.skipped.filter(({ reason }) => reason === REAL_TICKS_ABSENT).map(({ name }) => name);
    const result = await runFile(before.file, {
      env: { ...env, WITHOUT_SHARED: '' },
      timeoutMs,
      only: names,
    });
    const skipped = before.skipped.filter(({ reason }) => reason !== REAL_TICKS_ABSENT);
    results[results.indexOf(before)] = { ...before, skipped };
    took(result);
    const told = result.passed + result.failed + result.skipped.length;
    if (told !== names.length)
      throw new Error(`${names.length} tests of ${before.file} were to run, ${told} did`);
  }
}

function took(result: FileResult): void {
  results.push(result);
  console.log(
    `${result.failed === 0 ? 'ok' : 'not ok'} ${results.length} - ${result.file} # time=${result.ms.toFixed(0)}ms`,
  );
  for (const line of result.lines) console.log(`    ${line}`);
}

/** True when something ran and nothing failed. */
function summarise(): boolean {
  const sum = (of: (result: FileResult) => number): number =>
    results.reduce((total, one) => total + of(one), 0);
  console.log(`\nThe slowest files of ${((performance.now() - beganMs) / 60_000).toFixed(1)} minutes:`);
  for (const { file, ms } of [...results].sort((a, b) => b.ms - a.ms).slice(0, SLOWEST)) {
    console.log(`  ${(ms / 1000).toFixed(1).padStart(6)} s  ${file}`);
  }
  const skipped = results.flatMap((one) => one.skipped.map((test) => ({ ...test, file: one.file })));
  if (skipped.length > 0) console.log('Skipped:');
  for (const { file, name, reason } of skipped) console.log(`  ${file}: ${name}\n    because ${reason}`);
  const failed = results.filter((one) => one.failed > 0);
  if (failed.length > 0) console.log('Failed:');
  for (const { file } of failed) console.log(`  ${file}`);
  const [passed, failures] = [sum((one) => one.passed), sum((one) => one.failed)];
  console.log(`${passed} passed, ${failures} failed, ${skipped.length} skipped`);
  return failures === 0 && passed > 0;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
