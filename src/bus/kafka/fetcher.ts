import type { Broker } from '@platformatic/kafka';
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../core/retry.ts';
import { BusError, type Delivery } from '../bus.ts';
import type { KafkaCluster } from './cluster.ts';
import { busError } from './errors.ts';
import { atMost, Signal } from '../../core/wait.ts';
import { fetchOnce, isOutOfRange } from './fetch.ts';
import type { BrokerConnections } from './connections.ts';
import { offsetsAt } from './group/offsets.ts';
import type { PartitionBuffer } from './partition-buffer.ts';

/** a fetch waits at the broker this long when there is nothing, ms */
const LONG_POLL_MS = 500;
/** while other partitions have records, one without any is asked again after this time, ms */
const DRY_MS = 20;
const BACKOFF = { firstMs: 50, maxMs: 1000 };
/** when records are wanted and no fetch has come back for this long, the connections are replaced, ms */
const STALLED_MS = 15_000;

interface Leader {
  name: string;
  broker: Broker;
  buffers: PartitionBuffer[];
}

/**
 * Fetches partitions of one topic into their buffers, separately for each leader, and only on demand: a partition is fetched
 * when next() finds its buffer empty.
 */
export class KafkaFetcher {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  #connections: BrokerConnections;
  readonly #buffers = new Map<number, PartitionBuffer>();
  /** the fetch that is under way, by leader */
  readonly #underWay = new Map<string, symbol>();
  #pumping = false;
  #turn = 0;
  #failed: BusError | null = null;
  #failures = 0;
  #lastAnswerMs: number;
  /** an answer has come, or the buffers have changed */
  readonly #news = new Signal();
  #closed = false;

  constructor(cluster: KafkaCluster, topic: string) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#connections = cluster.openConnections(LONG_POLL_MS + cluster.requestTimeoutMs);
    this.#lastAnswerMs = cluster.env.clock.monotonicMs();
  }

  add(buffer: PartitionBuffer): void {
    this.#buffers.set(buffer.partition, buffer);
    this.#news.fire();
  }

  remove(buffer: PartitionBuffer): void {
    if (this.#buffers.get(buffer.partition) === buffer) this.#buffers.delete(buffer.partition);
  }

  /**
   * Up to `limit` records of the buffers that `may` allows, taking turns. Waits at most `waitMs`.
   * @throws BusError when nothing came because of a failure
   */
  async next(
    limit: number,
    waitMs: number,
    may: (buffer: PartitionBuffer) => boolean,
  ): Promise<{ buffer: PartitionBuffer; deliveries: Delivery[] }[]> {
    const endMs = this.#cluster.env.clock.monotonicMs() + waitMs;
    let idleMs = this.#cluster.env.clock.monotonicMs();
    this.#failed = null;
    for (;;) {
      const found = this.#take(limit, may);
      void this.#pump(may);
      if (found.length > 0 || limit <= 0) return found;
      const leftMs = endMs - this.#cluster.env.clock.monotonicMs();
      if (leftMs <= 0 || this.#closed) break;
      // without it a signal that nobody fires (a member without partitions) would keep every expired wait in memory
      if (!(await atMost(this.#news.wait(), leftMs))) this.#news.fire();
      idleMs = Math.max(idleMs, this.#lastAnswerMs);
      if (this.#inTurn().some(may) && this.#cluster.env.clock.monotonicMs() - idleMs > STALLED_MS) {
        this.#renew();
        idleMs = this.#cluster.env.clock.monotonicMs();
      }
    }
    const failed = this.#failed as BusError | null;
    if (failed !== null) throw failed;
    return [];
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#buffers.clear();
    this.#news.fire();
    await this.#cluster.discard(this.#connections);
  }

  #take(
    limit: number,
    may: (buffer: PartitionBuffer) => boolean,
  ): { buffer: PartitionBuffer; deliveries: Delivery[] }[] {
    const found: { buffer: PartitionBuffer; deliveries: Delivery[] }[] = [];
    let left = limit;
    for (const buffer of this.#inTurn()) {
      if (left <= 0) break;
      if (buffer.length === 0 || !may(buffer)) continue;
      const deliveries = buffer.take(left);
      left -= deliveries.length;
      found.push({ buffer, deliveries });
    }
    if (found.length > 0) this.#turn += 1;
    return found;
  }

  /** Each time another one first, so that a busy partition cannot starve the others. */
  #inTurn(): PartitionBuffer[] {
    const buffers = [...this.#buffers.values()];
    const first = buffers.length === 0 ? 0 : this.#turn % buffers.length;
    return [...buffers.slice(first), ...buffers.slice(0, first)];
  }

  /** Starts a fetch from each leader that has none under way, for the buffers that have run dry. */
  async #pump(may: (buffer: PartitionBuffer) => boolean): Promise<void> {
    if (this.#pumping || this.#closed) return;
    this.#pumping = true;
    try {
      for (const { name, broker, buffers } of await this.#leaders(may)) {
        if (this.#underWay.has(name)) continue;
        const dry = buffers.filter((buffer) => buffer.length === 0);
        // Kafka answers the requests of a connection one after another: a fetch may wait at the broker only when
        // no other partition of this leader has records buffered
        const patient = dry.length === buffers.length;
        const nowMs = this.#cluster.env.clock.monotonicMs();
        const wanted = patient ? dry : dry.filter((buffer) => nowMs - buffer.dryMs >= DRY_MS);
        if (wanted.length > 0) void this.#fetch(name, broker, wanted, patient ? LONG_POLL_MS : 0);
      }
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #leaders(may: (buffer: PartitionBuffer) => boolean): Promise<Leader[]> {
    const leaders = new Map<string, Leader>();
    for (const buffer of this.#inTurn()) {
      if (!may(buffer)) continue;
      const broker = await this.#cluster.leaderOf(this.#topic, buffer.partition);
      const name = `${broker.host}:${broker.port}`;
      const leader = leaders.get(name) ?? { name, broker, buffers: [] };
      leader.buffers.push(buffer);
      leaders.set(name, leader);
    }
    return [...leaders.values()];
  }

  async #fetch(
    leader: string,
    broker: Broker,
    buffers: readonly PartitionBuffer[],
    waitMs: number,
  ): Promise<void> {
    const fetch = Symbol('fetch');
    const connections = this.#connections;
    this.#underWay.set(leader, fetch);
    try {
      await this.#fetchInto(connections, broker, buffers, waitMs);
      this.#failures = 0;
    } catch (error) {
      if (connections === this.#connections && !this.#closed) await this.#fail(error);
    } finally {
      if (this.#underWay.get(leader) === fetch) this.#underWay.delete(leader);
      this.#news.fire();
    }
  }

  async #fetchInto(
    connections: BrokerConnections,
    broker: Broker,
    buffers: readonly PartitionBuffer[],
    waitMs: number,
  ): Promise<void> {
    const positions = buffers.map(({ partition, offset }) => ({ partition, offset }));
    const askedMs = this.#cluster.env.clock.monotonicMs();
    const answers = await fetchOnce(this.#cluster, connections, {
      broker,
      topic: this.#topic,
      positions,
      waitMs,
    });
    this.#lastAnswerMs = this.#cluster.env.clock.monotonicMs();
    let refused: number | null = null;
    for (const [at, buffer] of buffers.entries()) {
      const fetched = answers.get(buffer.partition);
      // revoked, or another fetch was quicker: the answer is of no use
      if (
        fetched === undefined ||
        this.#buffers.get(buffer.partition) !== buffer ||
        buffer.offset !== positions[at].offset
      )
        continue;
      if (isOutOfRange(fetched.code)) await this.#jump(buffer);
      else if (fetched.code !== 0) refused = fetched.code;
      else {
        if (fetched.next === buffer.offset) buffer.emptyAsOfMs = askedMs;
        buffer.offset = fetched.next;
        buffer.add(fetched.deliveries);
        if (fetched.deliveries.length === 0) buffer.dryMs = this.#lastAnswerMs;
      }
    }
    if (refused !== null) {
      throw new BusError(
        'unreachable',
        `the broker refuses to read ${this.#topic} (Kafka's error ${refused})`,
      );
    }
  }

  /** What a group still needed was deleted, or the log is shorter than it was: the only way on is from its start. */
  async #jump(buffer: PartitionBuffer): Promise<void> {
    const start =
      (await offsetsAt(this.#cluster, this.#topic, [buffer.partition], 'earliest')).get(buffer.partition) ??
      0;
    const fields = { topic: this.#topic, partition: buffer.partition, offset: buffer.offset, first: start };
    if (buffer.offset < start) {
      this.#cluster.env.log('error', 'kafka: records were deleted before they were read', {
        ...fields,
        lost: start - buffer.offset,
      });
    } else {
      this.#cluster.env.log(
        'error',
        'kafka: the partition ends before the position reached; read again from its start',
        fields,
      );
      buffer.rewound = true;
    }
    buffer.offset = start;
    buffer.jumpedTo = start;
  }

  async #fail(error: unknown): Promise<void> {
    this.#cluster.noteFailure(error);
    this.#failed = busError(error, `reading ${this.#topic}`);
    this.#failures += 1;
    if (this.#failed.kind !== 'unreachable') this.#news.fire();
    await delay(backoffMs(this.#failures, BACKOFF, this.#cluster.env.random()), undefined, { ref: false });
  }

  #renew(): void {
    this.#cluster.env.log('warn', 'kafka: no fetch came back, the connections are made anew', {
      topic: this.#topic,
    });
    const old = this.#connections;
    this.#connections = this.#cluster.openConnections(LONG_POLL_MS + this.#cluster.requestTimeoutMs);
    this.#underWay.clear();
    this.#cluster.renew();
    void this.#cluster.discard(old);
  }
}
