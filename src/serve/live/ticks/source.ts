import { wallMs } from '../../../core/time.ts';
import { backoffMs } from '../../../core/retry.ts';
import { pause, Signal, unlessAborted } from '../../../core/wait.ts';
import type { FanOut } from '../fan-out.ts';
import type { LiveFilter } from '../filter.ts';
import { Slots } from '../slots.ts';
import type { LiveFrom, LiveReader, LiveSource, ReadStep } from '../source.ts';
import type { Vector } from '../vector.ts';
import { TickHub } from './hub.ts';
import { parsePlace, type TickPlace } from './place.ts';
import { TickReader, type TickReaderTools } from './reader.ts';

/** Subscribers that read the bus at a time: each has a connection for each partition. */
const BUS_READERS_MAX = 8;
const BACKOFF = { firstMs: 200, maxMs: 5_000 };

export type TickSourceTools = Pick<TickReaderTools, 'hubTools' | 'table' | 'checkpoints'>;

/** The topic `ticks`: a hub, made anew when it lost its place, and the readers of its subscribers. */
export class TickSource implements LiveSource {
  readonly #tools: TickReaderTools;
  readonly #stopping = new AbortController();
  readonly #changed = new Signal();
  readonly #hubs = new WeakMap<FanOut, TickHub>();
  #hub: TickHub | null = null;
  #running: Promise<void> | null = null;

  constructor(tools: TickSourceTools) {
    this.#tools = { ...tools, slots: new Slots(BUS_READERS_MAX), hub: (signal) => this.#ready(signal) };
  }

  /** With the first subscriber: a process that nobody listens to follows nothing. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#hub?.stop();
    this.#changed.fire();
    await this.#running;
  }

  newest(provider: string, symbol: string): { ts: bigint; seq: bigint } | null {
    return this.#hub?.isOver === false ? this.#hub.newest(provider, symbol) : null;
  }

  async open(from: LiveFrom, filter: LiveFilter, signal: AbortSignal): Promise<LiveReader> {
    this.start();
    const { hubTools, checkpoints } = this.#tools;
    if (from.kind === 'now') {
      const hub = await this.#ready(signal);
      return hub === null ? NOTHING : atMemory(hub.fanOut, hub.fanOut.positions);
    }
    const place: TickPlace =
      from.kind === 'time'
        ? { kind: 'start', fromUs: from.us }
        : parsePlace(from.id, hubTools.bus.partitions(hubTools.topic));
    if (place.kind !== 'start') return new TickReader(this.#tools, filter, place, null);
    // the hub must have begun: what it remembers is then behind a checkpoint that is not newer
    if ((await this.#ready(signal)) === null) return NOTHING;
    const taken = await checkpoints.take();
    const { log, ends } = taken;
    const start = {
      kind: 'history' as const,
      log,
      checkpoint: taken,
      fromUs: place.fromUs,
      without: null,
      last: null,
    };
    return new TickReader(this.#tools, filter, start, ends);
  }

  reopen(fanOut: FanOut, at: Vector, filter: LiveFilter): LiveReader {
    const hub = this.#hubs.get(fanOut) as TickHub;
    const { log, acknowledged, snapshot } = hub.checkpointAt(at);
    const takenMs = wallMs(this.#tools.hubTools.env.clock);
    const place = {
      kind: 'bus' as const,
      log,
      checkpoint: { acknowledged, snapshot },
      positions: at,
      takenMs,
    };
    // behind the hub's first end the hub alone decides
    return new TickReader(this.#tools, filter, place, hub.isOver ? null : at);
  }

  idAt(fanOut: FanOut, positions: Vector): string {
    const hub = this.#hubs.get(fanOut) as TickHub;
    return hub.idAt(positions, wallMs(this.#tools.hubTools.env.clock));
  }

  async #ready(signal: AbortSignal): Promise<TickHub | null> {
    while (!signal.aborted && !this.#stopping.signal.aborted) {
      const hub = this.#hub;
      if (hub !== null && (await hub.ready(signal))) return hub;
      if (hub === this.#hub) await unlessAborted(this.#changed.wait(), signal);
    }
    return null;
  }

  async #run(): Promise<void> {
    const { hubTools, checkpoints } = this.#tools;
    const { env } = hubTools;
    for (let attempt = 0; !this.#stopping.signal.aborted;) {
      try {
        const hub = new TickHub(hubTools, await checkpoints.take());
        if (this.#stopping.signal.aborted) return;
        attempt = 0;
        this.#hub = hub;
        this.#hubs.set(hub.fanOut, hub);
        this.#changed.fire();
        await hub.run();
      } catch (error) {
        env.log('warn', 'The live path cannot begin', { err: error });
        await pause(backoffMs(attempt, BACKOFF, env.random()), this.#stopping.signal);
        attempt += 1;
      }
    }
  }
}

function atMemory(fanOut: FanOut, positions: Vector): LiveReader {
  return {
    next: (): Promise<ReadStep> => Promise.resolve({ kind: 'memory', fanOut, positions }),
    pause: () => Promise.resolve(),
  };
}

/** The connection is over. */
const NOTHING: LiveReader = {
  next: () => Promise.resolve({ kind: 'events', events: [] }),
  pause: () => Promise.resolve(),
};
