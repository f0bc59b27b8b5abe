/**
 * `npm run bench`: the daemon with a database and a simulator of its own against `psql \copy` of the same rows, on this
 * machine, in one run. Rounds alternate (ingest, copy, ingest, copy …), so that the ratio holds while the machine's
 * speed drifts. See bench/README.md.
 */
import { parseArgs } from 'node:util';
import { copyReference } from './copy-reference.ts';
import { measureIngest, measureLatency, type IngestFigures } from './measure.ts';
import { openBench } from './setup.ts';

const HELP = `npm run bench -- [options]

  --ticks N        ticks of each measurement (default 300000)
  --rounds N       ingest and \\copy in turn, so often (default 3)
  --txs N          transactions in a tick (default 2: 2.7 KB a tick)
  --seconds N      length of each latency measurement (default 15)
  --profile NAME   instead of the standard table: batch, workers, check, txs, volume
  --cpu-prof DIR   leave profiles of the daemon's threads there (node --cpu-prof)
  --json           one JSON object on stdout instead of the table
  --help

Example: npm run bench -- --ticks 1000000 --rounds 3`;

const { values } = parseArgs({
  options: {
    ticks: { type: 'string', default: '300000' },
    rounds: { type: 'string', default: '3' },
    txs: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '15' },
    profile: { type: 'string' },
    'cpu-prof': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const ticks = whole('ticks', values.ticks);
const rounds = whole('rounds', values.rounds);
const txs = whole('txs', values.txs);
const seconds = whole('seconds', values.seconds);

function whole(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`--${name} ${text} is no whole number`);
  process.exit(2);
}

type Row = Record<string, string | number>;

const bench = await openBench({ cpuProf: values['cpu-prof'] ?? null, say: (line) => console.error(line) });
try {
  const profiles: Record<string, () => Promise<Row[]>> = {
    batch: () =>
      vary(
        [100, 250, 1000, 4000].map((size) => ({
          label: `BATCH_SIZE=${size}`,
          env: { BATCH_SIZE: `${size}` },
        })),
      ),
    workers: () =>
      vary(
        [1, 2, 4, 8].map((count) => ({ label: `WORKER_COUNT=${count}`, env: { WORKER_COUNT: `${count}` } })),
      ),
    check: () =>
      vary(
        ['off', 'link', 'full'].map((mode) => ({ label: `CHAIN_CHECK=${mode}`, env: { CHAIN_CHECK: mode } })),
      ),
    txs: async () => [...(await standard(0)), ...(await standard(2))],
    volume: () => volume(),
  };
  const run = values.profile === undefined ? () => standard(txs) : profiles[values.profile];
  if (run === undefined) throw new Error(`no profile ${values.profile}: ${Object.keys(profiles).join(', ')}`);
  const rows = await run();
  if (values.profile === undefined) rows.push(...(await latencies()));
  if (values.json) console.log(JSON.stringify({ machine: bench.machine, rows }));
  else {
    console.log(`\n${bench.machine}\n`);
    console.table(rows);
  }
} finally {
  await bench.close();
}

/** Ingest against \copy, in turn; the medians, and the ratio pair by pair. */
async function standard(transactions: number): Promise<Row[]> {
  const sim = await bench.startSim([
    '--head',
    `${ticks}`,
    '--txs',
    `${transactions}`,
    '--vdf',
    'fast',
    '--ahead',
    `${ticks}`,
  ]);
  const pairs: { ingest: IngestFigures; copyTicksPerSecond: number }[] = [];
  let tool = '';
  try {
    for (let round = 0; round < rounds; round += 1) {
      const database = await bench.createDatabase();
      const ingest = await measureIngest(bench, sim, database, ticks);
      const reference = await copyReference(bench, database, ticks);
      tool = reference.tool;
      pairs.push({ ingest, copyTicksPerSecond: reference.ticksPerSecond });
      await bench.dropDatabase(database);
      bench.say(
        `round ${round + 1}: ingest ${round0(ingest.ticksPerSecond)}/s, ${tool} ${round0(reference.ticksPerSecond)}/s`,
      );
    }
  } finally {
    await sim.stop();
  }
  const ratios = pairs.map(({ ingest, copyTicksPerSecond }) => ingest.ticksPerSecond / copyTicksPerSecond);
  const middle = pairs.map(({ ingest }) => ingest);
  return [
    {
      what: `ingest, ${transactions} transactions a tick`,
      'ticks/s': round0(median(middle.map((figures) => figures.ticksPerSecond))),
      [`ratio to ${tool}`]: round2(median(ratios)),
      'CPU-s per million': round2(median(middle.map((figures) => figures.cpuSecondsPerMillion))),
      threads: describeThreads(middle),
      'p99 ms': round2(median(middle.map((figures) => figures.p99Ms))),
      'RSS MB at most': round0(Math.max(...middle.map((figures) => figures.rssBytesMax)) / 1e6),
    },
    {
      what: `${tool}, one connection`,
      'ticks/s': round0(median(pairs.map((pair) => pair.copyTicksPerSecond))),
    },
  ];
}

async function latencies(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const rate of [1000, 10_000]) {
    const sim = await bench.startSim([
      '--head',
      '1',
      '--rate',
      `${rate}`,
      '--txs',
      `${txs}`,
      '--vdf',
      'fast',
    ]);
    const database = await bench.createDatabase();
    const { p50Ms, p99Ms, ticksPerSecond } = await measureLatency(bench, sim, database, seconds);
    rows.push({
      what: `latency at ${rate} ticks/s`,
      'ticks/s': round0(ticksPerSecond),
      'p50 ms': round2(p50Ms),
      'p99 ms': round2(p99Ms),
    });
    await sim.stop();
    await bench.dropDatabase(database);
  }
  return rows;
}

/** The same measurement under several settings, in turn. */
async function vary(settings: { label: string; env: Record<string, string> }[]): Promise<Row[]> {
  const sim = await bench.startSim([
    '--head',
    `${ticks}`,
    '--txs',
    `${txs}`,
    '--vdf',
    'fast',
    '--ahead',
    `${ticks}`,
  ]);
  const found = new Map<string, IngestFigures[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const { label, env } of settings) {
      const database = await bench.createDatabase();
      const figures = await measureIngest(bench, sim, database, ticks, env);
      found.set(label, [...(found.get(label) ?? []), figures]);
      await bench.dropDatabase(database);
    }
  }
  await sim.stop();
  const first = median((found.get(settings[0].label) ?? []).map((figures) => figures.ticksPerSecond));
  return [...found].map(([label, figures]) => {
    const ticksPerSecond = median(figures.map((one) => one.ticksPerSecond));
    return {
      what: label,
      'ticks/s': round0(ticksPerSecond),
      [`ratio to ${settings[0].label}`]: round2(ticksPerSecond / first),
      'CPU-s per million': round2(median(figures.map((one) => one.cpuSecondsPerMillion))),
      'p99 ms': round2(median(figures.map((one) => one.p99Ms))),
    };
  });
}

/** Five times `ticks` into one database: is the last part as fast as the first? The chain is made while it is served. */
async function volume(): Promise<Row[]> {
  const parts = 5;
  const sim = await bench.startSim([
    '--head',
    `${ticks * parts}`,
    '--txs',
    `${txs}`,
    '--vdf',
    'fast',
    '--ahead',
    `${Math.min(ticks, 200_000)}`,
  ]);
  const database = await bench.createDatabase();
  const figures = await measureIngest(bench, sim, database, ticks * parts, {}, ticks);
  await sim.stop();
  await bench.dropDatabase(database);
  const first = figures.parts[0] ?? 0;
  return figures.parts.map((ticksPerSecond, part) => ({
    what: `ticks ${part * ticks + 1} to ${(part + 1) * ticks}`,
    'ticks/s': round0(ticksPerSecond),
    'ratio to the first': round2(ticksPerSecond / first),
  }));
}

function describeThreads(figures: readonly IngestFigures[]): string {
  const names = [...new Set(figures.flatMap((one) => [...one.threadCpuPerMillion.keys()]))].sort();
  return names
    .map((name) => `${name} ${round2(median(figures.map((one) => one.threadCpuPerMillion.get(name) ?? 0)))}`)
    .join(', ');
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function round0(value: number): number {
  return Math.round(value);
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
