import { Command, InvalidArgumentError } from 'commander';
import { parseIsoMicros } from '../core/time.ts';
import { TXS_MAX, ORDER_BYTES_DEFAULT } from './chain/content.ts';
import { FAULT_HELP, parseFault, type Fault } from './fault.ts';

export interface SimOptions {
  host: string;
  port: number;
  seed: number;
  first: bigint;
  /** null: the default, which differs for a replay */
  head: number | null;
  limit: bigint | null;
  rate: number;
  txs: number | 'mixed';
  payloadBytes: number;
  hostile: boolean;
  history: number;
  vdf: 'real' | 'fast';
  startMicros: number | null;
  faults: Fault[];
  replay: string | null;
  ahead: number;
  cacheBytes: number;
  exitAfterMs: number | null;
  log: string | null;
}

const DESCRIPTION = `A sequencer to develop and test against: serves continuum.sequencer.v1 (StreamTicks, GetTick,
GetStatus, GetChainState) over plaintext gRPC, with the true formulas of the chain: transaction and
batch hashes, VDF input and output, links. A tick is a function of the seed, its number and the
output before it; src/sim/chain/content.ts says which.`;

const EXAMPLES = `
Examples:
  sequencer-sim --head 100000 --rate 3000 --vdf fast
  sequencer-sim --listen 127.0.0.1:0 --seed 7 --start-time 2025-08-23T10:00:00Z --first 541409765 \\
                --head 5000 --txs 2 --fault cut:1000 --fault gap:50 --log sim.jsonl
  sequencer-sim --replay ticks.jsonl

Prints "sequencer-sim listening on HOST:PORT" when it is ready. Ends with code 0 on SIGTERM, SIGINT and SIGHUP. SIGUSR1: no further tick is made, what exists is still served.`;

const LISTEN_DEFAULT = { host: '127.0.0.1', port: 50_051 };
const HEAD_DEFAULT = 1000;
const CACHE_DEFAULT = 64 * 2 ** 20;
const CACHE_AHEAD_DEFAULT = 4 * 2 ** 30;
const U32_MAX = 2 ** 32 - 1;
const U64_MAX = 2n ** 64n - 1n;
/** 2^53 µs of chain time at one tick per second */
const TICKS_MAX = 9_000_000_000;
const EXIT_AFTER_MS_MAX = 2 ** 31 - 1;
const PAYLOAD_BYTES_MAX = 16 * 2 ** 20;
const RATE_MAX = 10_000_000;
/** numbers in orders have a fixed number of digits */
const START_EARLIEST = parseIsoMicros('2002-01-01');
const START_LATEST = parseIsoMicros('2200-01-01');

/** @returns the options, or ends the process after --help or a mistake, as commander does */
export function parseOptions(argv: readonly string[]): SimOptions {
  const command = new Command('sequencer-sim')
    .description(DESCRIPTION)
    .helpOption('-h, --help', 'this text')
    .configureHelp({ helpWidth: 110 })
    .option(
      '--listen <host:port>',
      'where to listen; port 0 takes a free one (default: 127.0.0.1:50051)',
      address,
    )
    .option('--seed <u32>', 'what the content of the ticks is drawn from', whole(0, U32_MAX), 1)
    .option('--first <number>', 'number of the first tick, 0 to 2^64-1 (default: 1)', u64Option)
    .option(
      '--head <ticks>',
      `ticks that exist at the start (default: ${HEAD_DEFAULT}; all with --replay)`,
      whole(0, TICKS_MAX),
    )
    .option(
      '--rate <ticks/s>',
      'ticks that come to exist per second afterwards; 0 = none',
      whole(0, RATE_MAX),
      0,
    )
    .option('--limit <number>', 'number of the last tick ever; streams then stay open and silent', u64Option)
    .option(
      '--txs <count>',
      `transactions in each tick, 0 to ${TXS_MAX}, or "mixed": 0 to 4, mostly none`,
      txs,
      'mixed',
    )
    .option(
      '--payload-bytes <bytes>',
      `size of a payload; below 526 it holds no order (with 2 transactions a tick has 2.7 KB)`,
      whole(0, PAYLOAD_BYTES_MAX),
      ORDER_BYTES_DEFAULT,
    )
    .option(
      '--hostile',
      'now and then a tx_id beyond ASCII, with NUL or no UTF-8, a nonce or a time near 2^64',
      false,
    )
    .option(
      '--history <ticks>',
      'ticks back from the head that are served (default: all)',
      whole(1, TICKS_MAX),
    )
    .addOption(
      new Command()
        .createOption(
          '--vdf <kind>',
          'real = 27 squarings, about 50 us a tick; fast = none, true to the formula',
        )
        .choices(['real', 'fast'])
        .default('real'),
    )
    .option(
      '--start-time <ISO-8601>',
      'timestamp of the first tick, years 2002 to 2199 (default: such that the head is now); ticks are 1/rate apart, 400 us with --rate 0',
      startTime,
    )
    .option('--fault <fault>', 'see below; may be repeated', fault)
    .option('--replay <file>', 'serve the ticks of this file instead (one proto3-JSON tick on each line)')
    .option('--ahead <ticks>', 'ticks rendered into memory before listening', whole(0, TICKS_MAX), 0)
    .option(
      '--cache-bytes <bytes>',
      'memory for rendered ticks, such as 512MiB or 2GiB (default: 64MiB; 4GiB with --ahead)',
      bytes,
    )
    .option('--exit-after-ms <ms>', 'end by itself after so many milliseconds', whole(1, EXIT_AFTER_MS_MAX))
    .option('--log <file>', 'append what happened as JSON lines: streams, their ends, GetTick calls, faults')
    .addHelpText('after', `\n${FAULT_HELP}\n${EXAMPLES}`);
  command.parse([...argv], { from: 'user' });
  return fromCommand(command);
}

interface Given {
  listen?: { host: string; port: number };
  seed: number;
  first?: bigint;
  head?: number;
  rate: number;
  limit?: bigint;
  txs: number | 'mixed';
  payloadBytes: number;
  hostile: boolean;
  history?: number;
  vdf: 'real' | 'fast';
  startTime?: number;
  fault?: Fault[];
  replay?: string;
  ahead: number;
  cacheBytes?: number;
  exitAfterMs?: number;
  log?: string;
}

function fromCommand(command: Command): SimOptions {
  const given = command.opts<Given>();
  const faults = given.fault ?? [];
  const kinds = faults.map((fault) => fault.kind);
  if (kinds.indexOf('fork') !== kinds.lastIndexOf('fork')) command.error('error: a chain forks once only');
  if (kinds.indexOf('oversize') !== kinds.lastIndexOf('oversize'))
    command.error('error: oversize can be given once only');
  if (given.replay !== undefined && (kinds.includes('fork') || kinds.includes('oversize'))) {
    command.error('error: the faults fork and oversize need a generated chain, not --replay');
  }
  if (given.replay !== undefined && given.ahead > 0)
    command.error('error: a replay is in memory already: no --ahead');
  return {
    ...(given.listen ?? LISTEN_DEFAULT),
    seed: given.seed,
    first: given.first ?? 1n,
    head: given.head ?? (given.replay === undefined ? HEAD_DEFAULT : null),
    limit: given.limit ?? null,
    rate: given.rate,
    txs: given.txs,
    payloadBytes: given.payloadBytes,
    hostile: given.hostile,
    history: given.history ?? Infinity,
    vdf: given.vdf,
    startMicros: given.startTime ?? null,
    faults,
    replay: given.replay ?? null,
    ahead: given.ahead,
    cacheBytes: given.cacheBytes ?? (given.ahead > 0 ? CACHE_AHEAD_DEFAULT : CACHE_DEFAULT),
    exitAfterMs: given.exitAfterMs ?? null,
    log: given.log ?? null,
  };
}

function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new InvalidArgumentError('It is not host:port, such as 127.0.0.1:50051.');
  return { host: match[1] ?? match[2], port };
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d{1,16}$/.test(text) || number < least || number > most) {
      throw new InvalidArgumentError(`It is not a whole number between ${least} and ${most}.`);
    }
    return number;
  };
}

function u64Option(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) > U64_MAX) {
    throw new InvalidArgumentError('It is not a whole number between 0 and 2^64-1.');
  }
  return BigInt(text);
}

function txs(text: string): number | 'mixed' {
  return text === 'mixed' ? text : whole(0, TXS_MAX)(text);
}

function bytes(text: string): number {
  const match = /^(\d{1,12})(|KiB|MiB|GiB)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('It is not a size such as 1048576, 512MiB or 2GiB.');
  return Number(match[1]) * 1024 ** ['', 'KiB', 'MiB', 'GiB'].indexOf(match[2]);
}

function startTime(text: string): number {
  const micros = checked(() => parseIsoMicros(text));
  if (micros < START_EARLIEST || micros >= START_LATEST) {
    throw new InvalidArgumentError('Its year is not between 2002 and 2199.');
  }
  return Number(micros);
}

function fault(text: string, before: readonly Fault[] = []): Fault[] {
  return [...before, checked(() => parseFault(text))];
}

function checked<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
