import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Client } from 'pg';
import { until } from '../until.ts';

/** A line of the daemon's log in production. */
export interface LogLine {
  level: string;
  timestamp: string;
  msg: string;
  [field: string]: unknown;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Ready {
  /** HTTP status */
  code: number;
  status: string;
  reasons: string[];
  details: ReadyDetails;
}

/** What /ready?verbose=1 tells; u64 are strings. */
export interface ReadyDetails {
  position?: string | null;
  complete_up_to?: string | null;
  head?: string | null;
  highest_read?: string | null;
  epoch?: string | null;
  leadership?: string;
  stream?: { kind: string };
  open_gap_count?: number;
  ring?: {
    ticks: number;
    ticksMax: number;
    bytes: number;
    slabs: number;
    slabsMax: number;
    readerWaits: boolean;
  };
}

export interface DaemonStart {
  /** the whole environment, but for PATH, HOME, ENV=production and a free health port, which it may change */
  env: Record<string, string>;
  args?: readonly string[];
  /** threads can be ended by killThread() */
  killableThreads?: boolean;
  /** what stdin to stderr are to the process; default: stdout and stderr are read as logs */
  stdout?: 'log' | 'raw';
}

const PROGRAM = fileURLToPath(new URL('../../../dist/run/tick-ingester.js', import.meta.url));
const THREAD_HOOK = new URL('../run/thread-hook.mjs', import.meta.url).href;
const REQUEST_MS = 5_000;

/** Ended with the test process at the latest: a failed test leaves no daemon behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGKILL');
    process.kill(process.pid, signal);
  });
}

/** The daemon as it ships (dist), in a process and an empty folder of its own. */
export class Daemon {
  readonly pid: number;
  readonly startedMs = performance.now();
  readonly exited: Promise<Exit>;
  /** null while it runs */
  exit: Exit | null = null;
  readonly log: LogLine[] = [];
  /** lines of stdout that are no JSON; everything with stdout: 'raw' */
  readonly otherLines: string[] = [];
  stderr = '';
  /** ticks of the batches it has logged as written */
  ticksWritten = 0;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #listeners = new Set<(line: LogLine) => void>();

  constructor({ env, args = [], killableThreads = false, stdout = 'log' }: DaemonStart) {
    assert.ok(existsSync(PROGRAM), `${PROGRAM} is not built: run make build-ingester`);
    this.#folder = mkdtempSync(join(tmpdir(), 'tick-ingester-'));
    const nodeArgs = killableThreads ? ['--import', THREAD_HOOK] : [];
    this.#child = spawn(process.execPath, [...nodeArgs, PROGRAM, ...args], {
      cwd: this.#folder,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: this.#folder,
        ENV: 'production',
        HEALTH_CHECK_PORT: '0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe', ...(killableThreads ? (['ipc'] as const) : [])],
    });
    running.add(this.#child);
    this.pid = this.#child.pid!;
    const logStream = stdout === 'raw' ? this.#child.stderr! : this.#child.stdout!;
    createInterface({ input: logStream }).on('line', (line) => this.#line(line));
    if (stdout === 'log') {
      this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    } else {
      createInterface({ input: this.#child.stdout! }).on('line', (line) => this.otherLines.push(line));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        running.delete(this.#child);
        this.exit = { code, signal };
        rmSync(this.#folder, { recursive: true, force: true });
        resolve(this.exit);
      });
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, and the exit of a clean end is asserted. */
  async stop(): Promise<void> {
    this.kill('SIGTERM');
    assert.deepEqual(await this.exited, { code: 0, signal: null }, this.tail());
  }

  /** SIGKILL, for the end of a test. */
  async end(): Promise<void> {
    if (this.exit === null) this.kill('SIGKILL');
    await this.exited;
  }

  /** Ends a worker thread by its name or the beginning of it, such as `writer-0` or `parse`: as a crash would. */
  killThread(name: string): void {
    this.#child.send({ kill: name });
  }

  // --- Logs ---

  lines(msg: string): LogLine[] {
    return this.log.filter((line) => line.msg === msg);
  }

  /** The first line that fits, once there is one. Fails when the daemon ends before it. */
  async logged(
    what: string | ((line: LogLine) => boolean),
    options: { deadlineMs?: number; from?: number } = {},
  ): Promise<LogLine> {
    const fits = typeof what === 'string' ? (line: LogLine): boolean => line.msg === what : what;
    return await until(
      typeof what === 'string' ? `logs ${JSON.stringify(what)}` : 'logs a line',
      () => {
        const line = this.log.slice(options.from ?? 0).find(fits);
        if (line === undefined && this.exit !== null) {
          throw new Error(`ended with ${JSON.stringify(this.exit)} before it logged that\n${this.tail()}`);
        }
        return line;
      },
      { ...options, context: () => this.tail() },
    );
  }

  onLine(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The last lines, for messages of failed tests; batches left out. */
  tail(): string {
    const lines = this.log.filter(({ msg }) => msg !== 'Wrote batch to TimescaleDB').slice(-15);
    return [
      ...lines.map((line) => JSON.stringify(line)),
      ...this.otherLines.slice(-5),
      this.stderr.slice(-3000),
    ].join('\n');
  }

  /** The same with what it says of itself now. */
  async state(): Promise<string> {
    return `${JSON.stringify(await this.ready())}\n${this.tail()}`;
  }

  /** Everything it wrote anywhere, to look for what must not be there. */
  output(): string {
    return [...this.log.map((line) => JSON.stringify(line)), ...this.otherLines, this.stderr].join('\n');
  }

  #line(text: string): void {
    let line: LogLine;
    try {
      line = JSON.parse(text) as LogLine;
    } catch {
      this.otherLines.push(text);
      return;
    }
    this.log.push(line);
    if (line.msg === 'Wrote batch to TimescaleDB') this.ticksWritten += line['tick_count'] as number;
    for (const listener of this.#listeners) listener(line);
  }

  // --- Probes ---

  async port(): Promise<number> {
    const line = await this.logged((line) => /served|Printing ticks/.test(line.msg));
    return line['port'] as number;
  }

  /** Status and body; null when nobody answers. */
  async get(path: string): Promise<{ code: number; body: string } | null> {
    const port = await this.port();
    return await new Promise((resolve) => {
      const request = get(
        { host: '127.0.0.1', port, path, timeout: REQUEST_MS, agent: false },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.on('end', () => resolve({ code: response.statusCode ?? 0, body }));
          response.on('error', () => resolve(null));
        },
      );
      request.on('timeout', () => request.destroy());
      request.on('error', () => resolve(null));
    });
  }

  /** null when nobody answers. */
  async ready(): Promise<Ready | null> {
    const answer = await this.get('/ready?verbose=1');
    if (answer === null) return null;
    const body = JSON.parse(answer.body) as Partial<Ready> & { status: string };
    return {
      code: answer.code,
      status: body.status,
      reasons: body.reasons ?? [],
      details: body.details ?? {},
    };
  }

  /** Waits until /ready says so: `ready`, or not ready for this reason among others. */
  async untilReady(reason: 'ready' | (string & {}), deadlineMs = 30_000): Promise<Ready> {
    let last: Ready | null = null;
    return await until(
      `/ready says ${reason}`,
      async () => {
        last = await this.ready();
        if (this.exit !== null) throw new Error(`ended with ${JSON.stringify(this.exit)}\n${this.tail()}`);
        const fits = reason === 'ready' ? last?.status === 'ready' : last?.reasons.includes(reason) === true;
        return fits ? last : null;
      },
      { deadlineMs, context: () => `${JSON.stringify(last)}\n${this.tail()}` },
    );
  }

  /** Sum of the series of this name that have all of these labels. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const answer = await this.get('/metrics');
    assert.ok(answer !== null && answer.code === 200, `no metrics: ${JSON.stringify(answer)}`);
    let sum: number | null = null;
    for (const line of answer.body.split('\n')) {
      const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null || match[1] !== name) continue;
      const has = Object.entries(labels).every(([key, value]) =>
        (match[2] ?? '').includes(`${key}="${value}"`),
      );
      if (has) sum = (sum ?? 0) + Number(match[3]);
    }
    assert.ok(sum !== null, `no series ${name} ${JSON.stringify(labels)}`);
    return sum;
  }

  /** What is committed is visible in the database before the daemon has counted it. */
  async untilMetric(name: string, labels: Record<string, string>, value: number): Promise<void> {
    let last = NaN;
    await until(
      `${name} ${JSON.stringify(labels)} is ${value}`,
      async () => (last = await this.metric(name, labels)) === value,
      { context: () => `it is ${last}\n${this.tail()}` },
    );
  }

  /** Resident memory in bytes; null once the process is gone. */
  rssBytes(): number | null {
    try {
      const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
      return kib === undefined ? null : Number(kib) * 1024;
    } catch {
      return null;
    }
  }
}

/** A process with these settings; waits for nothing. */
export function startDaemon(start: DaemonStart): Daemon {
  return new Daemon(start);
}

/** No session of a daemon that has ended stays in the server: no lock, no open transaction. */
export async function sessionsGone(
  client: Client,
  service = 'tick-ingester',
  deadlineMs = 30_000,
): Promise<void> {
  let last: unknown;
  await until(
    `no session of ${service} is left in the server`,
    async () => {
      const { rows } = await client.query(
        `SELECT pid, application_name, state, left(query, 80) AS query FROM pg_stat_activity
          WHERE datname = current_database() AND starts_with(application_name, $1)`,
        [`${service} `],
      );
      last = rows;
      return rows.length === 0;
    },
    { deadlineMs, context: () => JSON.stringify(last) },
  );
}
