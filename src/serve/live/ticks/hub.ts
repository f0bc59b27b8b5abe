import { TrimmedError, type BusFollower, type Delivery, type StreamBus } from '../../../bus/bus.ts';
import { acceptEvent } from '../../../core/market/accept.ts';
import type { Providers } from '../../../core/market/identity/providers.ts';
import type { Env } from '../../../core/env.ts';
import { backoffMs } from '../../../core/retry.ts';
import { pause, unlessAborted } from '../../../core/wait.ts';
import type { LiveTickTable, StoredTick } from '../../../store/live/ticks.ts';
import { FanOut, type Placed } from '../fan-out.ts';
import { comparePlaces, isAtLeast, type Vector } from '../vector.ts';
import type { Checkpoints, TakenCheckpoint } from './checkpoints.ts';
import { storedTick, tickEvent } from './item.ts';
import { TickJudge } from './judge.ts';
import { BusIds } from './place.ts';
import { Repetitions } from './repetitions.ts';

export interface TickHubTools {
  bus: StreamBus;
  topic: string;
  checkpoints: Checkpoints;
  table: Pick<LiveTickTable, 'newest' | 'visible'>;
  providers: Providers;
  env: Env;
  /** is told each tick that went out */
  onTick?: (tick: StoredTick, data: string) => void;
  /** for tests: keys that half of the judge's memory holds, bytes of the fan-out's, ms between checkpoints */
  halfKeys?: number;
  memoryBytes?: number;
  checkpointMs?: number;
}

/** Records per read, and how long a read waits, ms. */
const PAGE = 2_000;
const WAIT_MS = 1_000;
/** Below so many records in a read, the next one waits so long, ms: a batch has a cost for each subscriber. */
const BUSY_RECORDS = 200;
const GATHER_MS = 8;
/** How often a checkpoint is taken, ms: a subscriber that resumes after a restart of this process reads from the last one on. */
const CHECKPOINT_MS = 3_000;
/** that are kept for subscribers which are behind: of ten minutes */
const CHECKPOINTS_MAX = 200;
const BACKOFF = { firstMs: 100, maxMs: 3_000 };

/** Live ticks of a record of the bus; null: it is none. */
export function liveTick(delivery: Delivery, providers: Providers): StoredTick | null {
  if (delivery.data === null) return null;
  const event = acceptEvent(delivery.data, delivery.encoding, delivery.takenMs, providers);
  return event.kind === 'tick' && event.origin === 'live' ? storedTick(event) : null;
}

/**
 * Follows all partitions of the market events from a checkpoint on, and hands every tick that is no repetition to the
 * fan-out, in the order of the bus. It lives until what it follows is trimmed before it read it, or stop(); then another one
 * begins with another checkpoint.
 *
 * A checkpoint (A, S, E): S shows everything up to A; what lies behind E was taken after S. Of a record behind E the judge
 * knows by S and its memory, which holds all keys behind A, whether it is the first of its key. While the hub has not
 * reached the E of a newer checkpoint, it goes by the older one. Between the first checkpoint's A and E only the memory
 * decides: whoever reads there asks a snapshot of its own.
 */
export class TickHub {
  readonly fanOut: FanOut;
  readonly first: TakenCheckpoint;
  readonly repetitions: readonly Repetitions[];
  readonly #tools: TickHubTools;
  readonly #judge: TickJudge;
  readonly #stopping = new AbortController();
  #active: TakenCheckpoint;
  /** the newest of those that were active, and the active one */
  readonly #passed: TakenCheckpoint[] = [];
  #pending: TakenCheckpoint | null = null;
  #ids: BusIds;
  readonly #followers = new Set<BusFollower>();
  #turn: Promise<unknown> = Promise.resolve();
  /** all partitions have passed the first checkpoint's end */
  #isReady = false;

  constructor(tools: TickHubTools, first: TakenCheckpoint) {
    const { bus, table, env, halfKeys } = tools;
    this.#tools = tools;
    this.first = first;
    this.#active = first;
    this.#ids = new BusIds(first.log, first);
    this.fanOut = new FanOut((a, b) => bus.compare(a, b), first.acknowledged, tools.memoryBytes);
    this.repetitions = first.acknowledged.map(() => new Repetitions((a, b) => bus.compare(a, b)));
    this.#judge = new TickJudge(table, Math.floor(env.random() * 2 ** 32), halfKeys);
  }

  get isOver(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** The newest one whose end lies at or before this position, which is none of before ready(): ids behind it may hold it. */
  checkpointAt(positions: Vector): TakenCheckpoint {
    const compare = (a: string, b: string): number => this.#tools.bus.compare(a, b);
    return this.#passed.findLast(({ ends }) => isAtLeast(compare, positions, ends)) ?? this.first;
  }

  idsAt(positions: Vector): BusIds {
    const checkpoint = this.checkpointAt(positions);
    return checkpoint === this.#active ? this.#ids : new BusIds(checkpoint.log, checkpoint);
  }

  newest(provider: string, symbol: string): { ts: bigint; seq: bigint } | null {
    return this.#judge.newest(provider, symbol);
  }

  idAt(positions: Vector, takenMs: number): string {
    return this.#ids.of(positions, takenMs);
  }

  /** Resolves when every partition is behind the first checkpoint's end; false: it ended before. */
  async ready(signal: AbortSignal): Promise<boolean> {
    while (!this.#isReady && !this.isOver && !signal.aborted) await unlessAborted(this.fanOut.news(), signal);
    return this.#isReady && !this.isOver;
  }

  /** Resolves when it ended: false, it was stopped; true: records were trimmed, and another one has to begin. */
  async run(): Promise<boolean> {
    const partitions = this.first.acknowledged.map((_, partition) => partition);
    this.#pass();
    const ended = await Promise.all([
      this.#renew(),
      ...partitions.map((partition) => this.#follow(partition)),
    ]);
    return ended.includes(true);
  }

  stop(): void {
    this.#stopping.abort();
    for (const follower of this.#followers) follower.close().catch(() => {});
    this.fanOut.close();
  }

  async #follow(partition: number): Promise<boolean> {
    const { topic, env } = this.#tools;
    let follower: BusFollower | null = null;
    let failures = 0;
    try {
      while (!this.isOver) {
        try {
          follower ??= await this.#open(partition);
          const deliveries = await follower.next(PAGE, WAIT_MS);
          failures = 0;
          if (deliveries.length > 0) await this.#take(partition, deliveries);
          else await this.#passEnd(partition);
          if (deliveries.length < BUSY_RECORDS) await pause(GATHER_MS, this.#stopping.signal);
        } catch (error) {
          if (this.isOver) break;
          if (error instanceof TrimmedError) {
            env.log('warn', 'The live path begins anew: records were trimmed before it read them', {
              topic,
              partition,
              first: error.first,
            });
            this.stop();
            return true;
          }
          failures += 1;
          if (failures === 2)
            env.log('warn', 'The live path waits for the bus', { topic, partition, err: error });
          await pause(backoffMs(failures, BACKOFF, env.random()), this.#stopping.signal);
        }
      }
      return false;
    } finally {
      await follower?.close();
    }
  }

  async #open(partition: number): Promise<BusFollower> {
    const { bus, topic } = this.#tools;
    const follower = await bus.follow(topic, partition, this.fanOut.positions[partition] ?? null);
    this.#followers.add(follower);
    return follower;
  }

  /** One batch of one partition after the other. */
  #take(partition: number, deliveries: readonly Delivery[]): Promise<void> {
    const taking = this.#turn.then(() => this.#judged(partition, deliveries));
    this.#turn = taking.catch(() => {});
    return taking;
  }

  async #judged(partition: number, deliveries: readonly Delivery[]): Promise<void> {
    const { providers, onTick } = this.#tools;
    const found: { delivery: Delivery; tick: StoredTick }[] = [];
    for (const delivery of deliveries) {
      const tick = liveTick(delivery, providers);
      if (tick !== null) found.push({ delivery, tick });
    }
    const verdicts = await this.#verdicts(
      partition,
      found.map(({ delivery }) => delivery.position),
      found.map(({ tick }) => tick),
    );
    if (this.isOver) return;
    const idOf = this.#ids.batch(this.fanOut.positions, partition);
    const repetitions = this.repetitions[partition];
    const events: Placed[] = [];
    for (const [at, { delivery, tick }] of found.entries()) {
      const isRepetition = verdicts[at];
      repetitions.note(delivery.position, isRepetition);
      if (isRepetition) continue;
      const { position, takenMs } = delivery;
      const event = tickEvent(tick, idOf(position, takenMs));
      events.push({ event, partition, position, takenMs });
      onTick?.(tick, event.data);
    }
    this.fanOut.publish(partition, (deliveries.at(-1) as Delivery).position, events);
    this.#pass();
  }

  /** Waits while the database is away: what was taken from the bus is kept, and nothing more is. */
  async #verdicts(
    partition: number,
    positions: readonly string[],
    ticks: readonly StoredTick[],
  ): Promise<boolean[]> {
    const { bus, env } = this.#tools;
    // records up to the first checkpoint's end may have been stored because of themselves
    const end = this.first.ends[partition] ?? null;
    const split = positions.findIndex(
      (position) => comparePlaces((a, b) => bus.compare(a, b), position, end) > 0,
    );
    const early = split < 0 ? ticks.length : split;
    const before = await this.#judge.judge(ticks.slice(0, early), null);
    if (early === ticks.length) return before;
    for (let attempt = 0; !this.isOver; attempt++) {
      try {
        return [...before, ...(await this.#judge.judge(ticks.slice(early), this.#active.snapshot))];
      } catch (error) {
        if (attempt === 1) env.log('warn', 'The live path waits for the database', { err: error });
        await pause(backoffMs(attempt, BACKOFF, env.random()), this.#stopping.signal);
      }
    }
    return ticks.map(() => true);
  }

  /** Nothing came: a partition whose last records were trimmed, or are none (Kafka's own), is at its end all the same. */
  async #passEnd(partition: number): Promise<void> {
    const { bus, topic } = this.#tools;
    const compare = (a: string, b: string): number => bus.compare(a, b);
    const end = (this.#pending ?? this.first).ends[partition] ?? null;
    const position = this.fanOut.positions[partition] ?? null;
    if (comparePlaces(compare, position, end) < 0 && end !== null) {
      if ((await bus.read(topic, partition, position, 1)).length > 0) return;
      if (comparePlaces(compare, this.fanOut.positions[partition] ?? null, end) < 0)
        this.fanOut.publish(partition, end, []);
    }
    this.#pass();
  }

  #pass(): void {
    const compare = (a: string, b: string): number => this.#tools.bus.compare(a, b);
    const { positions } = this.fanOut;
    if (!this.#isReady && isAtLeast(compare, positions, this.first.ends)) {
      this.#isReady = true;
      this.fanOut.wake();
    }
    if (this.#pending === null || !isAtLeast(compare, positions, this.#pending.ends)) return;
    this.#active = this.#pending;
    this.#passed.push(this.#active);
    if (this.#passed.length > CHECKPOINTS_MAX) this.#passed.shift();
    this.#pending = null;
    this.#ids = new BusIds(this.#active.log, this.#active);
  }

  async #renew(): Promise<boolean> {
    const { checkpoints, env, checkpointMs = CHECKPOINT_MS } = this.#tools;
    while (!this.isOver) {
      await pause(checkpointMs, this.#stopping.signal);
      if (this.isOver || this.#pending !== null) continue;
      try {
        const taken = await checkpoints.take();
        if (taken.log !== this.first.log) {
          env.log('warn', 'The live path begins anew: the log of the bus is another one', {});
          this.stop();
          return true;
        }
        this.#pending = taken;
        this.#pass();
      } catch {
        // the followers say what is away; an older checkpoint is as good, and longer to read from
      }
    }
    return false;
  }
}
