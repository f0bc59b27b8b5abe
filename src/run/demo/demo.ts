import type { ChildProcess } from 'node:child_process';
import { mkdtemp, chmod, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, parseDatabaseUrl } from '../../store/postgres/connect.ts';
import { startEmbedded, type EmbeddedServer } from '../../store/embedded/server.ts';
import { countMarket } from '../../store/market/counts.ts';
import { countStored } from '../../store/chain/overview.ts';
import { readVariable } from '../config/load.ts';
import { EXIT_FAILED, EXIT_SIGINT } from '../exit-codes.ts';
import {
  isMarketEqual,
  MARKET_RATE,
  observeMarket,
  startProducer,
  untilMarketEqual,
  writeStreamingConfig,
  type MarketObservation,
  WINDOW,
} from './market.ts';
import { end, freePort, lineWith, start, START_MS_MAX } from './processes.ts';
import { watchSignals, type Signals } from '../signals.ts';

/** Ticks per second, as on the real chain. */
const RATE = 3000;
const CATCH_UP_MS_MAX = 30_000;
const LOOK_MS = 50;

/**
 * `make demo`: embedded PostgreSQL, the sequencer simulator, the daemon with every stage and a producer of market ticks, as
 * separate processes as in production, with one status line a second. Ends by Ctrl-C or after DEMO_SECONDS: the simulator
 * stops making ticks, the producer ends, the daemon writes what was sent, and both are counted.
 */
async function demo(): Promise<number> {
  const seconds = readSeconds();
  const signals = watchSignals({ second: () => process.exit(EXIT_SIGINT) });
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
    const sim = start(
      'sim/main.js',
      ['--listen', '127.0.0.1:0', '--rate', `${RATE}`, '--txs', 'mixed', '--vdf', 'real', '--log', simLog],
      {},
      'read',
    );
    started.push(sim);
    const address = await lineWith(sim, /listening on (\S+)/);
    const ports = { health: await freePort(), stages: await freePort(), producer: await freePort() };
    const streaming = await writeStreamingConfig(folder);
    const daemon = start(
      'run/tick-ingester.js',
      [],
      {
        CONTINUUM_GRPC_URL: address,
        DATABASE_URL: server.url(),
        DB_MIGRATE: 'auto',
        STAGES: 'all',
        STREAMING_CONFIG: streaming,
        METRICS_PORT: `${ports.stages}`,
        START_TICK: '1',
        HEALTH_CHECK_PORT: `${ports.health}`,
        DB_MAX_CONNECTIONS: '20',
        LOG_LEVEL: 'warn',
      },
      'shown',
    );
    started.push(daemon);
    // it applies the schema, which a producer needs
    await untilReady(ports.health, daemon, signals);
    const producer = startProducer(streaming, server.url(), ports.producer);
    started.push(producer);
    await untilMarket(ports, producer, signals);
    say(`sequencer-sim  ${address}   ${RATE} ticks/s, real VDF outputs, orders among their transactions`);
    say(`mdp stream     ${MARKET_RATE} made-up market ticks/s onto the bus, which is in the database`);
    say(`tick-ingester  http://127.0.0.1:${ports.health}/ready?verbose=1  and /metrics`);
    say(`its stages     http://127.0.0.1:${ports.stages}/metrics`);
    say(
      `database       ${server.url().replace(/:[^:@/]*@/, ':***@')}  (its password is in ${join(folder, 'postgres')})`,
    );
    say(seconds === null ? 'Ctrl-C ends the demo.\n' : `The demo ends after ${seconds} s.\n`);
    await watch(ports, seconds, signals, daemon);
    return await finish({ sim, daemon, producer, simLog, port: ports.health, url: server.url() });
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

interface Ports {
  health: number;
  stages: number;
  producer: number;
}

async function untilReady(port: number, daemon: ChildProcess, signals: Signals): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX;
  while (signals.seen === null && daemon.exitCode === null && performance.now() < deadlineMs) {
    const seen = await observe(port);
    if (seen !== null && seen.position > 0n) return;
    await delay(LOOK_MS);
  }
}

/** A Node program takes seconds to start when all cores are busy; the demo's own time begins after that. */
async function untilMarket(ports: Ports, producer: ChildProcess, signals: Signals): Promise<void> {
  const deadlineMs = performance.now() + START_MS_MAX;
  while (signals.seen === null && producer.exitCode === null && performance.now() < deadlineMs) {
    const seen = await observeMarket(ports.stages, ports.producer);
    if (seen !== null && seen.stored > 0) return;
    await delay(LOOK_MS);
  }
}

/** One line a second until the time is over, a signal comes or the daemon ends. */
async function watch(
  ports: Ports,
  seconds: number | null,
  signals: Signals,
  daemon: ChildProcess,
): Promise<void> {
  const beganMs = performance.now();
  const endMs = seconds === null ? Infinity : beganMs + seconds * 1000;
  let before: Observation | null = null;
  let marketBefore: MarketObservation | null = null;
  while (signals.seen === null && daemon.exitCode === null && performance.now() < endMs) {
    const [seen, market] = await Promise.all([
      observe(ports.health),
      observeMarket(ports.stages, ports.producer),
    ]);
    if (seen !== null) {
      say(`${elapsed(beganMs)}  ${chainText(seen, before)}   ${marketText(market, marketBefore)}`);
      [before, marketBefore] = [seen, market];
    }
    await Promise.race([delay(1000), signals.first]);
  }
}

function chainText(seen: Observation, before: Observation | null): string {
  const rate = before === null ? 0n : seen.position - before.position;
  const lag = seen.head > seen.position ? seen.head - seen.position : 0n;
  const state = seen.reasons.length === 0 ? 'ready' : seen.reasons.join(',');
  return `${state}  ${`${rate}`.padStart(5)} ticks/s  watermark ${seen.position}  lag ${lag}  p99 ${seen.p99Ms.toFixed(1)} ms`;
}

function marketText(seen: MarketObservation | null, before: MarketObservation | null): string {
  if (seen === null) return 'market: starting';
  const rate = before === null ? 0 : seen.stored - before.stored;
  return `market ${`${rate}`.padStart(5)} ticks/s  lag ${Math.max(0, seen.published - seen.stored)}  bars ${seen.bars}  signals ${seen.signals}`;
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
    return null; // not listening yet, or no longer
  }
}

interface Running {
  sim: ChildProcess;
  daemon: ChildProcess;
  producer: ChildProcess;
  simLog: string;
  port: number;
  url: string;
}

/** Freezes the chain, ends the producer, lets the daemon catch up, ends it and counts. */
async function finish({ sim, daemon, producer, simLog, port, url }: Running): Promise<number> {
  say('\nThe simulator and the producer stop; the daemon writes what was sent …');
  sim.kill('SIGUSR1');
  const producerCode = await end(producer);
  const head = await frozenHead(simLog);
  const deadlineMs = performance.now() + CATCH_UP_MS_MAX;
  while (daemon.exitCode === null && performance.now() < deadlineMs) {
    const seen = await observe(port);
    if (seen !== null && seen.position >= head) break;
    await delay(LOOK_MS);
  }
  await untilMarketEqual(url, daemon, CATCH_UP_MS_MAX);
  const daemonCode = await end(daemon);
  await end(sim);
  const isEqual = await sumUp(url, await sentTicks(simLog));
  say(`  exit codes          daemon ${daemonCode}, producer ${producerCode}\n`);
  return isEqual && daemonCode === 0 && producerCode === 0 ? 0 : 1;
}

/** Whether what is stored is what was sent. */
async function sumUp(url: string, sent: number): Promise<boolean> {
  const client = await connect(parseDatabaseUrl(url), { applicationName: 'demo' });
  const stored = await countStored(client);
  const market = await countMarket(client, WINDOW);
  await client.end();
  const chainEqual = sent === stored.ticks && stored.ticks === stored.proofs;
  say(
    [
      '',
      `  ticks sent          ${sent}`,
      `  ticks stored        ${stored.ticks}   ${verdict(chainEqual, 'sent')}`,
      `  proofs stored       ${stored.proofs}`,
      `  transactions stored ${stored.transactions}`,
      `  gaps, dead letters  ${stored.gaps}, ${stored.deadLetters}`,
      '',
      `  events published    ${market.produced}`,
      `  in tick_data        ${market.producedStored}   ${verdict(market.produced === market.producedStored, 'published')}`,
      `  orders of the chain ${market.orders}`,
      `  in tick_data        ${market.ordersStored}   ${verdict(market.orders === market.ordersStored, 'orders')}`,
      `  ticks in bars       ${market.inBars}   ${verdict(market.inBars === market.produced + market.orders, 'published + orders')}`,
      `  bars                ${market.bars}`,
      `  times of ticks      ${market.tickTimes}`,
      `  vwap deviations     ${market.deviations}   ${verdict(market.deviations === market.tickTimes, 'times of ticks')}`,
      `  signals             ${market.signals}, ${market.ruleSignals} of rules`,
      `  dead letters        ${market.deadLetters}`,
      '',
    ].join('\n'),
  );
  return chainEqual && isMarketEqual(market);
}

function verdict(isEqual: boolean, to: string): string {
  return `${isEqual ? '=' : '≠'} ${to}`;
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
  process.exitCode = EXIT_FAILED;
}
process.exit();
