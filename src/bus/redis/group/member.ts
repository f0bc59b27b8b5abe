import type { Env } from '../../../core/env.ts';
import type { Redis } from 'ioredis';
import { backoffMs } from '../../../core/retry.ts';
import { BusError, TAKEOVER_MS, type Delivery, type GroupMember, type GroupOptions } from '../../bus.ts';
import { CHECKPOINT_MS } from '../../checkpoints.ts';
import { claim, giveBack, heartbeatMs, RedisTakeover } from './takeover.ts';
import type { RedisConnection } from '../connection.ts';
import { wallMs } from '../../../core/time.ts';
import { pause } from '../../../core/wait.ts';
import { toDelivery, type RawEntry } from '../entry.ts';
import { isGroupMissing, toBusError } from '../errors.ts';
import { ANSWER_MS, type RedisGroups, type Stream } from './groups.ts';
import { RedisHeartbeat } from './heartbeat.ts';

/** a blocking read ends after this time, so that takeovers and close() need not wait longer, ms */
const BLOCK_MS_MAX = 1000;
/** a connection whose read is not answered this long after its BLOCK is given up, ms */
const BLOCK_GRACE_MS = 2000;
/** a read that must leave out partitions because of its limit waits this long for new entries, ms */
const TURN_MS = 20;
const ACK_IDS_MAX = 1000;
const REMAKE_BACKOFF = { firstMs: 50, maxMs: 2000 };

export interface MemberTools {
  /** this member's own: it blocks */
  reader: RedisConnection;
  /** never blocks */
  commands: RedisConnection;
  groups: RedisGroups;
  env: Env;
  onLeft: () => void;
}

/** XREADGROUP over all partitions. What a member has in flight is what the server has pending for its name. */
export class RedisMember implements GroupMember {
  readonly #streams: readonly Stream[];
  readonly #group: string;
  readonly #member: string;
  readonly #tools: MemberTools;
  readonly #takeover: RedisTakeover;
  readonly #heartbeat: RedisHeartbeat;
  readonly #checkpointing: NodeJS.Timeout;
  readonly #left = new AbortController();
  /** handed to the caller and not acknowledged, ids by partition */
  readonly #inFlight: Set<string>[];
  /** partitions whose pending entries of ours are to be read: at the start, and after a lost answer */
  #unread = new Map<Stream, string | null>();
  #missing = 0;
  #turn = 0;
  #hasNews = false;
  #gaveUpReads = false;
  #written: Promise<void> | null = null;
  #asking: Promise<unknown> = Promise.resolve();

  constructor(streams: readonly Stream[], options: GroupOptions, tools: MemberTools) {
    const { group, member, takeoverMs = TAKEOVER_MS } = options;
    this.#streams = streams;
    this.#group = group;
    this.#member = member;
    this.#tools = tools;
    this.#inFlight = streams.map(() => new Set());
    this.#takeover = new RedisTakeover({ streams, group, member, takeoverMs, clock: tools.env.clock });
    this.#heartbeat = new RedisHeartbeat(tools.commands, streams, group, member, heartbeatMs(takeoverMs));
    this.#checkpointing = setInterval(() => {
      this.#written ??= this.#writeCheckpoints().finally(() => (this.#written = null));
    }, CHECKPOINT_MS);
    this.#reread();
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    const asking = this.#next(limit, waitMs);
    this.#asking = asking.catch(() => {});
    const deliveries = await asking;
    for (const { partition, position } of deliveries) this.#inFlight[partition].add(position);
    return deliveries;
  }

  async acknowledge(deliveries: readonly Delivery[]): Promise<void> {
    const byPartition = this.#streams.map(() => [] as string[]);
    for (const { partition, position } of deliveries) byPartition[partition].push(position);
    await Promise.all(
      byPartition.map(async (ids, partition) => {
        if (ids.length === 0) return;
        await this.#acknowledge(this.#streams[partition], ids);
        for (const id of ids) this.#inFlight[partition].delete(id);
      }),
    );
    if (deliveries.length > 0) this.#hasNews = true;
  }

  async lagMs(): Promise<number> {
    return this.#do(() => this.#tools.groups.lagMs(this.#streams, this.#group));
  }

  async leave(): Promise<void> {
    if (this.#left.signal.aborted) return;
    this.disconnect(false);
    await this.#heartbeat.stop();
    await this.#asking; // what it still returns is given back as well
    try {
      for (const stream of this.#streams) {
        await this.#tools.commands.run(ANSWER_MS, async (client) => {
          await giveBack(client, stream, this.#group, this.#member);
          // a read that we gave up may still be answered: deleting the consumer would lose that. Names are removed later
          if (!this.#gaveUpReads) await client.xgroup('DELCONSUMER', stream.key, this.#group, this.#member);
        });
      }
      await this.#written;
      await this.#writeCheckpoints();
    } catch (error) {
      // then the others have to wait for the takeover
      const fields = { group: this.#group, member: this.#member, error: String(error) };
      this.#tools.env.log('warn', 'What the member had in hand could not be given back', fields);
    }
    this.#tools.reader.close();
    this.#tools.onLeft();
  }

  /** Stops without giving anything back; closes its connection unless that is still needed. */
  disconnect(withConnection = true): void {
    this.#left.abort();
    clearInterval(this.#checkpointing);
    void this.#heartbeat.stop();
    if (withConnection) this.#tools.reader.close();
  }

  async #next(limit: number, waitMs: number): Promise<Delivery[]> {
    const endMs = this.#tools.env.clock.monotonicMs() + waitMs;
    for (;;) {
      if (this.#left.signal.aborted) throw new BusError('unreachable', 'this member has left');
      const leftMs = endMs - this.#tools.env.clock.monotonicMs();
      const deliveries = await this.#once(limit, leftMs);
      if (deliveries.length > 0) return deliveries;
      if (endMs - this.#tools.env.clock.monotonicMs() <= 0) return [];
    }
  }

  /** Looks once at everything; waits for new entries, but not for long. */
  async #once(limit: number, leftMs: number): Promise<Delivery[]> {
    try {
      const own = await this.#ownPending(limit);
      if (own.length > 0) return own;
      if (this.#takeover.dueInMs <= 0) {
        const taken = await this.#tools.reader.run(ANSWER_MS, (client) =>
          this.#takeover.next(client, limit, this.#compareOwn),
        );
        if (taken.length > 0) return taken;
      }
      const blockMs = Math.floor(Math.min(leftMs, BLOCK_MS_MAX, Math.max(1, this.#takeover.dueInMs)));
      const fresh = await this.#tools.reader.run(Math.max(0, blockMs) + BLOCK_GRACE_MS, (client) =>
        this.#fresh(client, limit, blockMs),
      );
      this.#missing = 0;
      return fresh;
    } catch (error) {
      this.#reread();
      if (isGroupMissing(error)) {
        await this.#remake();
        return [];
      }
      this.#gaveUpReads = true;
      throw toBusError(error, `group ${this.#group}`);
    }
  }

  /**
   * More is pending for us than we know of: a read on a connection that was given up was executed after all, later than we
   * read our pending entries.
   */
  readonly #compareOwn = (stream: Stream, pending: number): void => {
    if (pending > this.#inFlight[stream.partition].size) this.#unread.set(stream, null);
  };

  /** What the server has pending for us that was never handed to the caller. */
  async #ownPending(limit: number): Promise<Delivery[]> {
    for (const [stream, after] of this.#unread) {
      const result = await this.#tools.reader.run(ANSWER_MS, (client) =>
        claim(client, {
          stream,
          group: this.#group,
          from: this.#member,
          to: this.#member,
          minIdleMs: 0,
          limit,
          after,
          skip: this.#inFlight[stream.partition],
          nowMs: wallMs(this.#tools.env.clock),
        }),
      );
      if (result.after === null) this.#unread.delete(stream);
      else this.#unread.set(stream, result.after);
      if (result.deliveries.length > 0) return result.deliveries;
    }
    return [];
  }

  /** COUNT applies to each stream: the limit is divided among them, and what some leave unused goes to those with more. */
  async #fresh(client: Redis, limit: number, blockMs: number): Promise<Delivery[]> {
    const deliveries: Delivery[] = [];
    this.#turn += 1;
    let asked = this.#streams.map((_, at) => this.#streams[(at + this.#turn) % this.#streams.length]);
    let waitMs = blockMs;
    while (deliveries.length < limit && asked.length > 0) {
      const left = limit - deliveries.length;
      // some must wait for the next turn, and streams without new entries must not delay it
      if (asked.length > left) waitMs = Math.min(waitMs, TURN_MS);
      asked = asked.slice(0, left);
      const count = Math.floor(left / asked.length);
      const full: Stream[] = [];
      for (const [stream, entries] of await this.#read(client, asked, count, waitMs)) {
        const { topic, partition } = stream;
        const nowMs = wallMs(this.#tools.env.clock);
        for (const entry of entries) deliveries.push(toDelivery(topic, partition, entry, 1, nowMs));
        if (entries.length === count) full.push(stream);
      }
      asked = full;
      waitMs = 0;
    }
    return deliveries;
  }

  async #read(
    client: Redis,
    streams: readonly Stream[],
    count: number,
    blockMs: number,
  ): Promise<[Stream, RawEntry[]][]> {
    const block = blockMs > 0 ? ['BLOCK', String(blockMs)] : [];
    const keys = streams.map(({ key }) => key);
    const news = keys.map(() => '>');
    const args = [
      'GROUP',
      this.#group,
      this.#member,
      'COUNT',
      String(count),
      ...block,
      'STREAMS',
      ...keys,
      ...news,
    ];
    const reply = (await client.callBuffer('XREADGROUP', args)) as [Buffer, RawEntry[]][] | null;
    if (reply === null) return [];
    return reply.map(([key, entries]) => {
      const name = key.toString();
      return [streams.find((stream) => stream.key === name)!, entries];
    });
  }

  async #acknowledge({ key }: Stream, ids: readonly string[]): Promise<void> {
    await this.#do(() =>
      this.#tools.commands.run(ANSWER_MS, async (client) => {
        const acknowledging: Promise<number>[] = [];
        for (let at = 0; at < ids.length; at += ACK_IDS_MAX) {
          acknowledging.push(client.xack(key, this.#group, ...ids.slice(at, at + ACK_IDS_MAX)));
        }
        await Promise.all(acknowledging);
      }),
    );
  }

  async #remake(): Promise<void> {
    const waitMs =
      this.#missing === 0 ? 0 : backoffMs(this.#missing, REMAKE_BACKOFF, this.#tools.env.random());
    this.#missing += 1;
    await pause(waitMs, this.#left.signal);
    await this.#do(() => this.#tools.groups.remake(this.#streams, this.#group));
  }

  async #writeCheckpoints(): Promise<void> {
    if (!this.#hasNews) return;
    this.#hasNews = false;
    try {
      for (const stream of this.#streams) await this.#tools.groups.writeCheckpoint(stream, this.#group);
    } catch {
      this.#hasNews = true; // later
    }
  }

  /** Pending entries are read again, and silences of others measured anew. */
  #reread(): void {
    this.#unread = new Map(this.#streams.map((stream) => [stream, null]));
    this.#takeover.reset();
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toBusError(error, `group ${this.#group}`);
    }
  }
}
