import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** One line of the simulator's log; src/sim/event-log.ts says which events have which fields. u64 are strings. */
export interface SimEvent {
  time: string;
  event: 'listening' | 'stop' | 'stream' | 'end' | 'get_tick' | 'fault' | 'frozen';
  id?: number;
  peer?: string;
  start_tick?: string;
  sent?: number;
  first?: string | null;
  last?: string | null;
  status?: string;
  tick?: string;
  found?: boolean;
  kind?: string;
  form?: string;
  old?: string;
  ms?: number;
  from?: string;
  head?: string | null;
}

export interface RunningSim {
  /** host:port */
  readonly address: string;
  readonly pid: number;
  /** What it has logged up to now; an event can come a moment after what it tells of, so wait for one by logged(). */
  log(): SimEvent[];
  /** The first logged event that fits, once there is one. */
  logged(fits: (event: SimEvent) => boolean): Promise<SimEvent>;
  /** SIGTERM; resolves with the exit code, null when a signal ended it. Idempotent. */
  stop(): Promise<number | null>;
  /** Exit code once the process has ended by itself or by stop(). */
  readonly exited: Promise<number | null>;
}

export interface SimStart {
  /** `src` runs the sources by Node's type stripping, `dist` what ships */
  from?: 'src' | 'dist';
  /** how long rendering ahead may take */
  deadlineMs?: number;
}

const DEADLINE_MS = 60_000;
const POLL_MS = 5;

/**
 * A simulator in a process of its own on a free port of loopback, with a log of its own (unless args hold --listen or
 * --log). Whoever starts one stops it.
 * @throws Error with what it wrote to stderr when it ends before it listens
 */
export async function startSim(args: readonly string[], start: SimStart = {}): Promise<RunningSim> {
  const folder = await mkdtemp(join(tmpdir(), 'sequencer-sim-'));
  const logAt = args.indexOf('--log');
  const logPath = logAt >= 0 ? args[logAt + 1] : join(folder, 'sim.jsonl');
  const program = start.from === 'dist' ? '../../../dist/sim/main.js' : '../../../src/sim/main.ts';
  const child = spawn(
    process.execPath,
    [
      fileURLToPath(new URL(program, import.meta.url)),
      ...(args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0']),
      ...(logAt >= 0 ? [] : ['--log', logPath]),
      ...args,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const address = await new Promise<string>((resolve, reject) => {
    const deadline = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`sequencer-sim did not listen in time: ${stderr}`));
    }, start.deadlineMs ?? DEADLINE_MS);
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const listening = /listening on (\S+)\n/.exec(stdout);
      if (listening === null) return;
      clearTimeout(deadline);
      resolve(listening[1]);
    });
    void exited.then((code) => {
      clearTimeout(deadline);
      reject(new Error(`sequencer-sim ended with ${code}: ${stderr}`));
    });
  });
  const log = (): SimEvent[] => readLog(logPath);
  return {
    address,
    pid: child.pid!,
    log,
    exited,
    async logged(fits) {
      const endMs = performance.now() + DEADLINE_MS;
      for (;;) {
        const event = log().find(fits);
        if (event !== undefined) return event;
        if (performance.now() > endMs)
          throw new Error(`not logged in time; the log is ${JSON.stringify(log())}`);
        await delay(POLL_MS);
      }
    },
    async stop() {
      child.kill('SIGTERM');
      const code = await exited;
      await rm(folder, { recursive: true, force: true });
      return code;
    },
  };
}

/** Whole lines only: the last one may still be on its way. */
function readLog(path: string): SimEvent[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as SimEvent);
}
