import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench, BenchDaemon, BenchSim } from './setup.ts';

export interface IngestFigures {
  /** from the first tick read to the last one committed */
  ticksPerSecond: number;
  /** user + system of the daemon's whole process */
  cpuSecondsPerMillion: number;
  threadCpuPerMillion: Map<string, number>;
  p50Ms: number;
  p99Ms: number;
  rssBytesMax: number;
  /** ticks/s of each `partTicks` */
  parts: number[];
}

const POLL_MS = 100;
const MEASURE_MS_MAX = 30 * 60_000;
const CLOCK_TICKS_PER_SECOND = 100; // USER_HZ of Linux

/** As fast as it goes: `ticks` that exist already, into an empty database. */
export async function measureIngest(
  bench: Bench,
  sim: BenchSim,
  database: string,
  ticks: number,
  env: Record<string, string> = {},
  partTicks = ticks,
): Promise<IngestFigures> {
  const daemon = await bench.startDaemon(sim, database, { LOG_LEVEL: 'info', ...env });
  const began = await until(daemon, ({ position, held }) => position > 0 || held > 0);
  const cpuBefore = cpuSeconds(daemon.pid);
  const parts: number[] = [];
  let partBegan = began.atMs;
  let last = began;
  for (let goal = partTicks; goal <= ticks; goal += partTicks) {
    last = await until(daemon, ({ position }) => position >= goal);
    parts.push((partTicks / (last.atMs - partBegan)) * 1000);
    partBegan = last.atMs;
  }
  const cpu = cpuSeconds(daemon.pid) - cpuBefore;
  const rssBytesMax = highestRss(daemon.pid);
  const millions = ticks / 1e6;
  // threads report twice a second: the last report must cover the work
  const settled = await after(daemon, 1100);
  const threads = new Map<string, number>();
  for (const [name, value] of settled) {
    const thread = /^tick_ingester_thread_cpu_seconds_total\{thread="([^"]+)"\}$/.exec(name)?.[1];
    if (thread !== undefined) threads.set(thread, value / millions);
  }
  await daemon.stop();
  return {
    ticksPerSecond: (ticks / (last.atMs - began.atMs)) * 1000,
    cpuSecondsPerMillion: cpu / millions,
    threadCpuPerMillion: threads,
    p50Ms: last.progress.p50Ms,
    p99Ms: last.progress.p99Ms,
    rssBytesMax,
    parts,
  };
}

/** At a steady rate, for so many seconds; the quantiles are over the last ten of them. */
export async function measureLatency(
  bench: Bench,
  sim: BenchSim,
  database: string,
  seconds: number,
): Promise<{ p50Ms: number; p99Ms: number; ticksPerSecond: number }> {
  const daemon = await bench.startDaemon(sim, database, {});
  const began = await until(daemon, ({ position }) => position > 0);
  const metrics = await after(daemon, seconds * 1000);
  const atMs = performance.now();
  await daemon.stop();
  const committed = (metrics.get('tick_ingester_position') ?? 0) - began.progress.position;
  return {
    p50Ms: (metrics.get('tick_ingester_commit_latency_p50_seconds') ?? 0) * 1000,
    p99Ms: (metrics.get('tick_ingester_commit_latency_p99_seconds') ?? 0) * 1000,
    ticksPerSecond: (committed / (atMs - began.atMs)) * 1000,
  };
}

type Metrics = Map<string, number>;

interface Progress {
  position: number;
  held: number;
  p50Ms: number;
  p99Ms: number;
}

async function until(
  daemon: BenchDaemon,
  reached: (progress: Progress) => boolean,
): Promise<{ progress: Progress; atMs: number }> {
  for (const deadlineMs = performance.now() + MEASURE_MS_MAX; performance.now() < deadlineMs;) {
    const progress = await readProgress(daemon);
    const atMs = performance.now();
    if (reached(progress)) return { progress, atMs };
    await delay(POLL_MS);
  }
  throw new Error('the daemon does not get there');
}

/** From /ready, which costs the daemon far less than rendering its metrics. */
async function readProgress(daemon: BenchDaemon): Promise<Progress> {
  const { details } = (await (await fetch(`${daemon.health}/ready?verbose=1`)).json()) as {
    details: { position?: string | null; ring?: { ticks: number }; latency_ms: { p50: number; p99: number } };
  };
  return {
    position: Number(details.position ?? 0),
    held: details.ring?.ticks ?? 0,
    p50Ms: details.latency_ms.p50,
    p99Ms: details.latency_ms.p99,
  };
}

async function after(daemon: BenchDaemon, ms: number): Promise<Metrics> {
  await delay(ms);
  return readMetrics(daemon);
}

async function readMetrics(daemon: BenchDaemon): Promise<Metrics> {
  const text = await (await fetch(`${daemon.health}/metrics`)).text();
  const metrics: Metrics = new Map();
  for (const line of text.split('\n')) {
    const at = line.lastIndexOf(' ');
    if (at > 0 && !line.startsWith('#')) metrics.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return metrics;
}

/** User and system time of the whole process, from the kernel. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

function highestRss(pid: number): number {
  const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) * 1024;
}
