import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** What became of one test file. Its tests are those at its top level; what lies inside them counts with them. */
export interface FileResult {
  readonly file: string;
  readonly ms: number;
  readonly passed: number;
  /** at least 1 when the process did not end with 0 */
  readonly failed: number;
  readonly skipped: readonly { name: string; reason: string }[];
  /** what is worth reading of its output: its tests, comments, failures */
  readonly lines: readonly string[];
}

export interface FileOptions {
  readonly env: NodeJS.ProcessEnv;
  /** the file is ended when it takes longer, ms */
  readonly timeoutMs: number;
  /** names of its tests: no others are run; default: all */
  readonly only?: readonly string[];
}

/** how much longer than tap's own timeout, which says what the file was waiting for, and then until SIGKILL, ms */
const GRACE_MS = 10_000;
const running = new Set<ChildProcess>();

/** Test files end their servers when they are told to end. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGTERM');
    process.kill(process.pid, signal);
  });
}

/**
 * Runs one test file as a process of its own, without tap's runner: what that loads into every file for coverage, mocks and
 * TypeScript costs 0.9 s of CPU a file.
 */
export async function runFile(file: string, options: FileOptions): Promise<FileResult> {
  const beganMs = performance.now();
  const child = spawn(process.execPath, [file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...options.env, ...grep(options.only), TAP_TIMEOUT: String(options.timeoutMs / 1000) },
  });
  running.add(child);
  const timers = [
    setTimeout(() => child.kill('SIGTERM'), options.timeoutMs + GRACE_MS),
    setTimeout(() => child.kill('SIGKILL'), options.timeoutMs + 2 * GRACE_MS),
  ];
  const report = new FileReport(options.only);
  const [code] = await Promise.all([
    new Promise<number | NodeJS.Signals>((resolve) =>
      child.once('exit', (code, signal) => resolve(code ?? signal ?? -1)),
    ),
    read(child.stdout, (line) => report.tap(line)),
    read(child.stderr, (line) => report.other(line)),
  ]);
  for (const timer of timers) clearTimeout(timer);
  running.delete(child);
  if (code !== 0 && report.failed === 0) report.crashed(file, code);
  const { passed, failed, skipped, lines } = report;
  return { file, ms: performance.now() - beganMs, passed, failed, skipped, lines };
}

class FileReport {
  passed = 0;
  failed = 0;
  readonly skipped: { name: string; reason: string }[] = [];
  readonly lines: string[] = [];
  readonly #only: readonly string[] | undefined;

  constructor(only: readonly string[] | undefined) {
    this.#only = only;
  }

  tap(line: string): void {
    const test = /^(ok|not ok) \d+ - (.*?)(?: # time=\S+)?$/.exec(line);
    const skip = /^ok \d+ - (.*) # (?:SKIP|TODO) ?(.*?)(?: # time=\S+)?$/i.exec(line);
    const name = skip?.[1] ?? test?.[2];
    if (name !== undefined && this.#only?.includes(name) === false) return;
    if (skip !== null) this.skipped.push({ name: skip[1], reason: skip[2] });
    else if (test?.[1] === 'ok') this.passed += 1;
    else if (test !== null) this.failed += 1;
    // assertions and subtests that pass, plans and sums are of no interest to anybody
    if (!/^ +ok \d+|^ *(\d+\.\.\d+|# (Subtest|time|\{))|^TAP version|^ *$/.test(line)) this.other(line);
  }

  other(line: string): void {
    if (line.trim() !== '') this.lines.push(line);
  }

  crashed(file: string, code: number | string): void {
    this.failed = 1;
    this.lines.push(`not ok - ${file} ended with ${code}`);
  }
}

/** For tap's filter, which reports the other tests as skipped. */
function grep(names: readonly string[] | undefined): NodeJS.ProcessEnv {
  if (names === undefined) return {};
  return { TAP_GREP: `/^(${names.map((name) => RegExp.escape(name)).join('|')})$/` };
}

async function read(stream: Readable, take: (line: string) => void): Promise<void> {
  for await (const line of createInterface({ input: stream })) take(line);
}
