import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const RUN = new URL('../../../dist/run/', import.meta.url);
const LINES_KEPT = 200;

export interface ProgramEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A program of dist/ that runs until it is told to end. Its JSON log lines are handed on; its last ones are kept for messages. */
export class Program {
  readonly #child: ChildProcess;
  readonly #tail: string[] = [];
  readonly #spoken = Promise.withResolvers<void>();
  readonly ended: Promise<ProgramEnd>;
  end: ProgramEnd | null = null;
  #peakBytes = 0;

  constructor(
    program: 'mdp' | 'tick-ingester',
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    onLine: (line: Record<string, unknown>) => void = () => {},
  ) {
    this.#child = spawn(process.execPath, [fileURLToPath(new URL(`${program}.js`, RUN)), ...args], {
      cwd: tmpdir(),
      env: { PATH: process.env['PATH'], ENV: 'production', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = (): void => void this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        process.off('exit', kill);
        this.end = { code, signal };
        resolve(this.end);
      });
    });
    for (const name of ['stdout', 'stderr'] as const) {
      const stream = this.#child[name];
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (text) => {
        this.#spoken.resolve();
        this.#tail.push(text);
        if (this.#tail.length > LINES_KEPT) this.#tail.shift();
        if (name === 'stdout' && text.startsWith('{')) onLine(JSON.parse(text) as Record<string, unknown>);
      });
    }
  }

  get tail(): string {
    return this.#tail.slice(-20).join('\n');
  }

  /** Highest resident memory so far, bytes; as the kernel counted it while the program lived. */
  peakBytes(): number {
    try {
      const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'))?.[1];
      this.#peakBytes = Math.max(this.#peakBytes, Number(kib ?? 0) * 1024);
    } catch {
      // it is gone
    }
    return this.#peakBytes;
  }

  /** Resident memory now, bytes. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** SIGTERM, and its exit code. One that has said nothing yet still loads its modules: it has no handler, so it is waited for. */
  async stop(): Promise<number | null> {
    await Promise.race([this.#spoken.promise, this.ended]);
    this.peakBytes();
    this.#child.kill('SIGTERM');
    return (await this.ended).code;
  }
}
