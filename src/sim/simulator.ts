import { Bar, Presets } from 'cli-progress';
import { decodeFirstNumber } from '../core/chain/decode.ts';
import type { Clock } from '../core/time.ts';
import { Chain } from './chain/chain.ts';
import type { ContentOptions } from './chain/content.ts';
import { EventLog } from './event-log.ts';
import { FaultPlan } from './fault-plan.ts';
import { GeneratedSource } from './source/generated.ts';
import { GrpcServer, STATUS, type Call, type Handler } from './server/grpc-server.ts';
import type { SimOptions } from './options.ts';
import { getChainState, GetFaults, getStatus, getTick, notFound } from './server/query.ts';
import { grpcFrame, ReplaySource } from './source/replay.ts';
import type { TickSource } from './source/source.ts';
import { StallGate } from './server/stall-gate.ts';
import { TickStream, type Sequencer } from './server/tick-stream.ts';

const SERVICE = '/continuum.sequencer.v1.SequencerService';
/** timestamps of a chain that does not grow: 400 µs apart */
const TICKS_PER_SECOND_DEFAULT = 2500;
const PROGRESS_EVERY_MS = 2000;

/** Prints a message for the user; never on stdout, which carries only the address. */
export type Say = (line: string) => void;

/** A running simulator. */
export interface Simulator {
  /** host:port */
  address: string;
  /** No further tick is made; what exists is still served. The log says which is the last. */
  freeze(): void;
  stop(): Promise<void>;
}

/**
 * Renders the ticks that are made in advance, then listens.
 * @param failed called when the simulator cannot go on
 */
export async function startSimulator(
  options: SimOptions,
  clock: Clock,
  say: Say,
  failed: (error: Error) => void,
): Promise<Simulator> {
  const plan = new FaultPlan(options.faults);
  const log = new EventLog(options.log, clock);
  const source = await openSource(options, plan, clock, say, failed);
  const chain = new Chain(
    source,
    {
      head: options.head ?? source.size,
      rate: options.rate,
      limit: options.limit,
      history: options.history,
    },
    clock,
  );
  const stalls = new StallGate(plan.stalls, source, () => clock.monotonicMs());
  const server = new GrpcServer(handlers({ chain, plan, stalls, fork: forkOf(plan, source), log }, clock));
  const address = await server.listen(options.host, options.port);
  log.write('listening', { address });
  return {
    address,
    freeze() {
      const count = chain.freeze();
      log.write('frozen', { head: count === 0 ? null : source.numberAt(count - 1) });
    },
    async stop() {
      await server.close();
      await source.close();
      log.write('stop', {});
      log.close();
    },
  };
}

async function openSource(
  options: SimOptions,
  plan: FaultPlan,
  clock: Clock,
  say: Say,
  failed: (error: Error) => void,
): Promise<TickSource> {
  if (options.replay !== null) return ReplaySource.read(options.replay);
  const source = new GeneratedSource(contentOptions(options, plan, clock), options.cacheBytes, {
    passing: (number) => say(`making the chain up to where it was asked for, at tick ${number}`),
    failed,
  });
  await renderAhead(source, options, clock, say);
  return source;
}

function contentOptions(options: SimOptions, plan: FaultPlan, clock: Clock): ContentOptions {
  const ticksPerSecond = options.rate > 0 ? options.rate : TICKS_PER_SECOND_DEFAULT;
  const headSeconds = Math.ceil((options.head ?? 0) / ticksPerSecond);
  const nowSeconds = Number(clock.nowMicros() / 1_000_000n);
  const oversize = options.faults.find((fault) => fault.kind === 'oversize');
  const content: ContentOptions = {
    seed: options.seed,
    first: options.first,
    txs: options.txs,
    payloadBytes: options.payloadBytes,
    hostile: options.hostile,
    oversize: oversize ?? null,
    startMicros: options.startMicros ?? (nowSeconds - headSeconds) * 1_000_000,
    ticksPerSecond,
    vdf: options.vdf,
    forkIndex: null,
  };
  if (plan.fork !== null) {
    const at = plan.fork.at - options.first;
    content.forkIndex = Math.max(0, Number(at) - plan.fork.back);
  }
  return content;
}

/** The fork ends BACK/2 ticks after it begins, below the tick that triggered it. */
function forkOf(plan: FaultPlan, source: TickSource): Sequencer['fork'] {
  if (plan.fork === null) return null;
  const at = source.indexFrom(plan.fork.at);
  const from = Math.max(0, at - plan.fork.back);
  return { at, from, count: Math.min(from + Math.ceil(plan.fork.back / 2), Math.max(from, at - 1)) };
}

async function renderAhead(
  source: GeneratedSource,
  options: SimOptions,
  clock: Clock,
  say: Say,
): Promise<void> {
  const chunks = Math.ceil(Math.min(options.ahead, source.size) / source.chunkTicks);
  if (chunks === 0) return;
  const beganMs = clock.monotonicMs();
  const bar = process.stderr.isTTY
    ? new Bar({ format: 'rendering |{bar}| {value}/{total} ticks, {eta} s left' }, Presets.legacy)
    : null;
  bar?.start(chunks * source.chunkTicks, 0);
  let saidMs = beganMs;
  let chunk = 0;
  for (; chunk < chunks && source.cacheBytes < options.cacheBytes; chunk++) {
    source.prefetch(0, chunk + 1);
    await source.chunk(0, chunk);
    bar?.update((chunk + 1) * source.chunkTicks);
    if (bar !== null || clock.monotonicMs() - saidMs < PROGRESS_EVERY_MS) continue;
    saidMs = clock.monotonicMs();
    say(`rendered ${(chunk + 1) * source.chunkTicks} of ${options.ahead} ticks`);
  }
  bar?.stop();
  const seconds = ((clock.monotonicMs() - beganMs) / 1000).toFixed(1);
  const megabytes = Math.round(source.cacheBytes / 1e6);
  const short = chunk < chunks ? `, and no more: --cache-bytes is ${options.cacheBytes}` : '';
  say(`rendered ${chunk * source.chunkTicks} ticks ahead, ${megabytes} MB in ${seconds} s${short}`);
}

function handlers(sequencer: Sequencer, clock: Clock): ReadonlyMap<string, Handler> {
  const { chain, plan, log } = sequencer;
  const startedMs = clock.monotonicMs();
  const transactionsAtStart = chain.source.transactionsBefore(chain.count(), 0);
  const getFaults = new GetFaults(plan);
  let streams = 0;
  return new Map<string, Handler>([
    [
      `${SERVICE}/StreamTicks`,
      (call, request) => new TickStream(sequencer, call, (streams += 1)).run(decodeFirstNumber(request)),
    ],
    [
      `${SERVICE}/GetTick`,
      async (call, request) => {
        const number = decodeFirstNumber(request);
        const fault = await getFaults.hit(number);
        if (fault !== null) log.write('fault', { kind: fault, tick: number });
        if (fault === 'get-fail') {
          call.end(STATUS.UNAVAILABLE, `GetTick of ${number} fails`);
          return;
        }
        const asked = fault === 'get-other' ? number + 1n : number;
        const { found, message } =
          fault === 'get-late' ? notFound() : await getTick(chain, plan, asked, fault === 'get-bad');
        log.write('get_tick', { peer: call.peer, tick: number, found });
        await answer(call, message);
      },
    ],
    [
      `${SERVICE}/GetStatus`,
      (call) =>
        answer(
          call,
          getStatus(chain, { seconds: (clock.monotonicMs() - startedMs) / 1000, transactionsAtStart }),
        ),
    ],
    [
      `${SERVICE}/GetChainState`,
      async (call, request) => answer(call, await getChainState(chain, decodeFirstNumber(request))),
    ],
  ]);
}

async function answer(call: Call, message: Uint8Array): Promise<void> {
  await call.write(grpcFrame(message));
  call.end(0);
}
