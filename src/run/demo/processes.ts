/** The programs of the demo, each a process of its own as in production. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readVariable } from '../config/load.ts';

export const START_MS_MAX = 60_000;
const PROGRAMS = new URL('../../', import.meta.url);

/** @param output what becomes of its stdout: read by lineWith(), or shown */
export function start(
  program: string,
  args: string[],
  env: Record<string, string>,
  output: 'read' | 'shown',
): ChildProcess {
  const path = fileURLToPath(new URL(program, PROGRAMS));
  return spawn(process.execPath, [path, ...args], {
    // the demo's signals are its own: Ctrl-C must not reach the daemon before the chain is frozen
    detached: true,
    env: { PATH: readVariable('PATH') ?? '', ...env },
    cwd: tmpdir(),
    stdio: ['ignore', output === 'read' ? 'pipe' : 'inherit', 'inherit'],
  });
}

export async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return exit;
}

/** The pattern's first group, once it matches the output. */
export async function lineWith(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = '';
  const found = new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const match = pattern.exec(text);
      if (match?.[1] !== undefined) resolve(match[1]);
    });
    child.once('exit', (code) => reject(new Error(`it ended with code ${code} before it was up: ${text}`)));
  });
  return Promise.race([
    found,
    delay(START_MS_MAX, null, { ref: false }).then(() => {
      throw new Error(`not up within ${START_MS_MAX} ms`);
    }),
  ]);
}

/** A port that was free a moment ago: the daemon's health port is configured and cannot be chosen by the system. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
