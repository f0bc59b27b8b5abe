import type { Broker } from '@platformatic/kafka';
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../core/retry.ts';
import { BusError, type Delivery } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { busError } from './errors.ts';
import { atMost } from '../../core/wait.ts';
import { fetchOnce, isOutOfRange } from './fetch.ts';
import type { KafkaLine } from './connections.ts';
import { offsetsAt } from './group/offsets.ts';

/** the broker holds a fetch so long when there is nothing, ms */
const LONG_POLL_MS = 500;
/** while other partitions have something, one that has nothing is asked again after so long, ms */
const DRY_MS = 20;
const BACKOFF = { firstMs: 50, maxMs: 1000 };
/** asked for records and none of the fetches came back for so long: the connections are made anew, ms */
const STALLED_MS = 15_000;

interface Leader {
  name: string;
  broker: Broker;
  taps: Tap[];
}

/** One partition on its way to whoever asks. */
export class Tap {
  readonly partition: number;
  /** offset of the next fetch */
  offset: number;
  /** the log turned out to be shorter than the position, so that offsets come a second time */
  rewound = false;
  /** when the broker last had nothing, ms */
  dryMs = 0;
  buffer: Delivery[] = [];
  #taken = 0;

  constructor(partition: number, offset: number) {
    this.partition = partition;
    this.offset = offset;
  }

  get length(): number {
    return this.buffer.length - this.#taken;
  }

  take(limit: number): Delivery[] {
    const taken = this.buffer.slice(this.#taken, this.#taken + limit);
    this.#taken += taken.length;
    if (this.#taken === this.buffer.length) {
      this.buffer = [];
      this.#taken = 0;
    }
    return taken;
  }

  /** What was taken and could not be handed out comes first the next time. */
  giveBack(deliveries: readonly Delivery[]): void {
    this.buffer = [...deliveries, ...this.buffer.slice(this.#taken)];
    this.#taken = 0;
  }
}

/**
 * Fetches partitions of one topic into their buffers, each leader by itself, and only what somebody asked for: a fetch
 * for a partition starts when its buffer has run empty.
 */
export class KafkaFetcher {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  #line: KafkaLine;
  readonly #taps = new Map<number, Tap>();
  /** the fetch that is under way, by leader */
  readonly #underWay = new Map<string, symbol>();
  #pumping = false;
  #turn = 0;
  #failed: BusError | null = null;
  #failures = 0;
  #lastAnswerMs: number;
  #wake = Promise.withResolvers<void>();
  #closed = false;

  constructor(cluster: KafkaCluster, topic: string) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#line = cluster.line(LONG_POLL_MS + cluster.requestTimeoutMs);
    this.#lastAnswerMs = cluster.nowMs();
  }

  add(tap: Tap): void {
    this.#taps.set(tap.partition, tap);
    this.#signal();
  }

  remove(tap: Tap): void {
    if (this.#taps.get(tap.partition) === tap) this.#taps.delete(tap.partition);
  }

  /**
   * Up to `limit` records of the taps that `may` allows, taking turns. Waits at most `waitMs`.
   * @throws BusError when nothing came because of a failure
   */
  async next(
    limit: number,
    waitMs: number,
    may: (tap: Tap) => boolean,
  ): Promise<{ tap: Tap; deliveries: Delivery[] }[]> {
    const endMs = this.#cluster.nowMs() + waitMs;
    let idleMs = this.#cluster.nowMs();
    this.#failed = null;
    for (;;) {
      const found = this.#take(limit, may);
      void this.#pump(may);
      if (found.length > 0 || limit <= 0) return found;
      const leftMs = endMs - this.#cluster.nowMs();
      if (leftMs <= 0 || this.#closed) break;
      // one that nobody resolves (a member without partitions) would keep every wait that ran out
      if (!(await atMost(this.#wake.promise, leftMs))) this.#signal();
      idleMs = Math.max(idleMs, this.#lastAnswerMs);
      if (this.#inTurn().some(may) && this.#cluster.nowMs() - idleMs > STALLED_MS) {
        this.#renew();
        idleMs = this.#cluster.nowMs();
      }
    }
    const failed = this.#failed as BusError | null;
    if (failed !== null) throw failed;
    return [];
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#taps.clear();
    this.#signal();
    await this.#cluster.discard(this.#line);
  }

  #signal(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  #take(limit: number, may: (tap: Tap) => boolean): { tap: Tap; deliveries: Delivery[] }[] {
    const found: { tap: Tap; deliveries: Delivery[] }[] = [];
    let left = limit;
    for (const tap of this.#inTurn()) {
      if (left <= 0) break;
      if (tap.length === 0 || !may(tap)) continue;
      const deliveries = tap.take(left);
      left -= deliveries.length;
      found.push({ tap, deliveries });
    }
    if (found.length > 0) this.#turn += 1;
    return found;
  }

  /** A different one first each time, so that a busy partition cannot starve the others. */
  #inTurn(): Tap[] {
    const taps = [...this.#taps.values()];
    const first = taps.length === 0 ? 0 : this.#turn % taps.length;
    return [...taps.slice(first), ...taps.slice(0, first)];
  }

  /** A fetch of each leader of which none is under way, for the taps that have run dry. */
  async #pump(may: (tap: Tap) => boolean): Promise<void> {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    try {
      for (const { name, broker, taps } of await this.#leaders(may)) {
        if (this.#underWay.has(name)) continue;
        const dry = taps.filter((tap) => tap.length === 0);
        // Kafka answers one request of a connection after another: a fetch may wait only when nobody else can grow hungry
        const patient = dry.length === taps.length;
        const nowMs = this.#cluster.nowMs();
        const wanted = patient ? dry : dry.filter((tap) => nowMs - tap.dryMs >= DRY_MS);
        if (wanted.length > 0) void this.#fetch(name, broker, wanted, patient ? LONG_POLL_MS : 0);
      }
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #leaders(may: (tap: Tap) => boolean): Promise<Leader[]> {
    const leaders = new Map<string, Leader>();
    for (const tap of this.#inTurn()) {
      if (!may(tap)) continue;
      const broker = await this.#cluster.leaderOf(this.#topic, tap.partition);
      const name = `${broker.host}:${broker.port}`;
      const leader = leaders.get(name) ?? { name, broker, taps: [] };
      leader.taps.push(tap);
      leaders.set(name, leader);
    }
    return [...leaders.values()];
  }

  async #fetch(leader: string, broker: Broker, taps: readonly Tap[], waitMs: number): Promise<void> {
    const fetch = Symbol('fetch');
    const line = this.#line;
    this.#underWay.set(leader, fetch);
    try {
      await this.#fetchInto(line, broker, taps, waitMs);
      this.#failures = 0;
    } catch (error) {
      if (line === this.#line && !this.#closed) await this.#fail(error);
    } finally {
      if (this.#underWay.get(leader) === fetch) this.#underWay.delete(leader);
      this.#signal();
    }
  }

  async #fetchInto(line: KafkaLine, broker: Broker, taps: readonly Tap[], waitMs: number): Promise<void> {
    const wishes = taps.map(({ partition, offset }) => ({ partition, offset }));
    const answers = await fetchOnce(this.#cluster, line, { broker, topic: this.#topic, wishes, waitMs });
    this.#lastAnswerMs = this.#cluster.nowMs();
    let refused: number | null = null;
    for (const [at, tap] of taps.entries()) {
      const fetched = answers.get(tap.partition);
      // revoked, or another fetch was quicker: what came is of no use
      if (fetched === undefined || this.#taps.get(tap.partition) !== tap || tap.offset !== wishes[at].offset)
        continue;
      if (isOutOfRange(fetched.code)) await this.#jump(tap);
      else if (fetched.code !== 0) refused = fetched.code;
      else {
        tap.offset = fetched.next;
        for (const delivery of fetched.deliveries) tap.buffer.push(delivery);
        if (fetched.deliveries.length === 0) tap.dryMs = this.#lastAnswerMs;
      }
    }
    if (refused !== null) {
      throw new BusError(
        'unreachable',
        `the broker refuses to read ${this.#topic} (Kafka's error ${refused})`,
      );
    }
  }

  /** What a group still needed is gone, or the log is shorter than it was: there is no other place to go on from. */
  async #jump(tap: Tap): Promise<void> {
    const start =
      (await offsetsAt(this.#cluster, this.#topic, [tap.partition], 'earliest')).get(tap.partition) ?? 0;
    const fields = { topic: this.#topic, partition: tap.partition, offset: tap.offset, first: start };
    if (tap.offset < start) {
      this.#cluster.log('error', 'kafka: records were deleted before they were read', {
        ...fields,
        lost: start - tap.offset,
      });
    } else {
      this.#cluster.log(
        'error',
        'kafka: the partition ends before the position reached; read again from its start',
        fields,
      );
      tap.rewound = true;
    }
    tap.offset = start;
  }

  async #fail(error: unknown): Promise<void> {
    this.#cluster.noteFailure(error);
    this.#failed = busError(error, `reading ${this.#topic}`);
    this.#failures += 1;
    if (this.#failed.kind !== 'unreachable') this.#signal();
    await delay(backoffMs(this.#failures, BACKOFF, this.#cluster.random()), undefined, { ref: false });
  }

  #renew(): void {
    this.#cluster.log('warn', 'kafka: no fetch came back, the connections are made anew', {
      topic: this.#topic,
    });
    const old = this.#line;
    this.#line = this.#cluster.line(LONG_POLL_MS + this.#cluster.requestTimeoutMs);
    this.#underWay.clear();
    this.#cluster.renew();
    void this.#cluster.discard(old);
  }
}
