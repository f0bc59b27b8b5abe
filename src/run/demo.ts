import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, chmod, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, parseDatabaseUrl } from '../store/connect.ts';
import { startEmbedded, type EmbeddedServer } from '../store/embedded.ts';
import { countStored } from '../store/overview.ts';
import { readVariable } from './config.ts';
import type { Signals } from './daemon.ts';
import { watchSignals } from './signals.ts';

/** Ticks a second: what the real chain has. */
const RATE = 3000;
const START_MS_MAX = 60_000;
const CATCH_UP_MS_MAX = 30_000;
const PROGRAMS = new URL('../', import.meta.url);

/**
 * `make demo`: embedded PostgreSQL, the sequencer simulator and the daemon as the processes that they are in real life,
 * and one line a second about them. Ends by Ctrl-C or after DEMO_SECONDS; then the simulator stops making ticks, the
 * daemon writes what was sent, and the two are counted against each other.
 */
async function demo(): Promise<number> {
  const seconds = readSeconds();
  const signals = watchSignals(() => process.exit(130));
  const folder = await mkdtemp(join(tmpdir(), 'tick-ingester-demo-'));
  // as root the server runs as another user, who must be able to pass through
  await chmod(folder, 0o711);
  const started: ChildProcess[] = [];
  let server: EmbeddedServer | null = null;
  try {
    say('starting PostgreSQL …');
    server = await startEmbedded({
      dataDir: join(folder, 'postgres'),
      log: { info: () => {}, warn: () => {} },
    });
    const simLog = join(folder, 'sim.jsonl');
    const sim = start('sim/main.js', [
      '--listen',
      '127.0.0.1:0',
      '--rate',
      `${RATE}`,
      '--txs',
      'mixed',
      '--vdf',
      'real',
      '--log',
      simLog,
    ]);
    started.push(sim);
    const address = await lineWith(sim, /listening on (\S+)/);
    const port = await freePort();
    const daemon = start('run/tick-ingester.js', [], {
      CONTINUUM_GRPC_URL: address,
      DATABASE_URL: server.url(),
      DB_MIGRATE: 'auto',
      START_TICK: '1',
      HEALTH_CHECK_PORT: `${port}`,
      LOG_LEVEL: 'warn',
    });
    started.push(daemon);
    say(`sequencer-sim  ${address}   ${RATE} ticks/s, real VDF outputs`);
    say(`tick-ingester  http://127.0.0.1:${port}/ready?verbose=1  and /metrics`);
    say(
      `database       ${server.url().replace(/:[^:@/]*@/, ':***@')}  (its password is in ${join(folder, 'postgres')})`,
    );
    say(seconds === null ? 'Ctrl-C ends the demo.\n' : `The demo ends after ${seconds} s.\n`);
    await watch(port, seconds, signals, daemon);
    return await finish({ sim, daemon, simLog, port, url: server.url() });
  } finally {
    for (const child of started) child.kill('SIGKILL');
    await server?.stop('fast');
    await rm(folder, { recursive: true, force: true });
  }
}

function readSeconds(): number | null {
  const text = readVariable('DEMO_SECONDS');
  if (text === null) return null;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new Error(`DEMO_SECONDS=${text} is no number of seconds`);
}

interface Observation {
  position: bigint;
  head: bigint;
  p99Ms: number;
  reasons: string[];
}

/** One line a second until the time is over, a signal comes or the daemon ends. */
async function watch(
  port: number,
  seconds: number | null,
  signals: Signals,
  daemon: ChildProcess,
): Promise<void> {
  const beganMs = performance.now();
  const endMs = seconds === null ? Infinity : beganMs + seconds * 1000;
  let before: Observation | null = null;
  while (signals.seen === null && daemon.exitCode === null && performance.now() < endMs) {
    const seen = await observe(port);
    if (seen !== null) {
      const rate = before === null ? 0n : seen.position - before.position;
      const lag = seen.head > seen.position ? seen.head - seen.position : 0n;
      const state = seen.reasons.length === 0 ? 'ready' : seen.reasons.join(',');
      say(
        `${elapsed(beganMs)}  ${state}  ${`${rate}`.padStart(6)} ticks/s  watermark ${seen.position}  lag ${lag}  p99 ${seen.p99Ms.toFixed(1)} ms`,
      );
      before = seen;
    }
    await Promise.race([delay(1000), signals.first]);
  }
}

async function observe(port: number): Promise<Observation | null> {
  try {
    const reply = await fetch(`http://127.0.0.1:${port}/ready?verbose=1`);
    const body = (await reply.json()) as {
      reasons?: string[];
      details: { position?: string | null; head?: string | null; latency_ms: { p99: number } };
    };
    return {
      position: BigInt(body.details.position ?? 0),
      head: BigInt(body.details.head ?? 0),
      p99Ms: body.details.latency_ms.p99,
      reasons: body.reasons ?? [],
    };
  } catch {
    return null; // not listening yet, or no more
  }
}

interface Running {
  sim: ChildProcess;
  daemon: ChildProcess;
  simLog: string;
  port: number;
  url: string;
}

/** Freezes the chain, lets the daemon catch up, ends both and counts. */
async function finish({ sim, daemon, simLog, port, url }: Running): Promise<number> {
  say('\nThe simulator stops making ticks; the daemon writes what was sent …');
  sim.kill('SIGUSR1');
  const head = await frozenHead(simLog);
  const deadlineMs = performance.now() + CATCH_UP_MS_MAX;
  while (daemon.exitCode === null && performance.now() < deadlineMs) {
    const seen = await observe(port);
    if (seen !== null && seen.position >= head) break;
    await delay(50);
  }
  const daemonCode = await end(daemon);
  await end(sim);
  const sent = await sentTicks(simLog);
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'demo' });
  const stored = await countStored(client);
  await client.end();
  const equal = sent === stored.ticks && stored.ticks === stored.proofs;
  say(
    [
      '',
      `  ticks sent          ${sent}`,
      `  ticks stored        ${stored.ticks}   ${equal ? '= sent' : '≠ SENT'}`,
      `  proofs stored       ${stored.proofs}`,
      `  transactions stored ${stored.transactions}`,
      `  gaps, dead letters  ${stored.gaps}, ${stored.deadLetters}`,
      `  daemon's exit code  ${daemonCode}`,
      '',
    ].join('\n'),
  );
  return equal && daemonCode === 0 ? 0 : 1;
}

interface SimEvent {
  event: string;
  head?: string;
  sent?: number | string;
}

async function simEvents(path: string): Promise<SimEvent[]> {
  const text = await readFile(path, 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SimEvent);
}

async function frozenHead(simLog: string): Promise<bigint> {
  for (const deadlineMs = performance.now() + START_MS_MAX; performance.now() < deadlineMs;) {
    const frozen = (await simEvents(simLog)).find(({ event }) => event === 'frozen');
    if (frozen?.head !== undefined) return BigInt(frozen.head);
    await delay(50);
  }
  throw new Error('the simulator does not stop making ticks');
}

async function sentTicks(simLog: string): Promise<number> {
  return (await simEvents(simLog))
    .filter(({ event }) => event === 'end')
    .reduce((sum, { sent }) => sum + Number(sent), 0);
}

function start(program: string, args: string[], env: Record<string, string> = {}): ChildProcess {
  const path = fileURLToPath(new URL(program, PROGRAMS));
  return spawn(process.execPath, [path, ...args], {
    // the demo's signals are its own: Ctrl-C must not reach the daemon before the chain is frozen
    detached: true,
    env: { PATH: readVariable('PATH') ?? '', ...env },
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return exit;
}

async function lineWith(child: ChildProcess, pattern: RegExp): Promise<string> {
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

/** A port that was free a moment ago: the daemon's health port is fixed in real life and so cannot be asked for. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

function elapsed(beganMs: number): string {
  return `${Math.floor((performance.now() - beganMs) / 1000)} s`.padStart(6);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  process.exitCode = await demo();
} catch (error) {
  process.stderr.write(`demo: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
process.exit();
