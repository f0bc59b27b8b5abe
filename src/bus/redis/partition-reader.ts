import { wallMs, type Clock } from '../../core/time.ts';
import { BusError, type Delivery, type PartitionReader } from '../bus.ts';
import { toDelivery, type RawEntry } from './entry.ts';
import type { RedisConnection } from './connection.ts';
import { replyWord, toBusError } from './errors.ts';
import { ANSWER_MS, type RedisGroups, type Stream } from './group/groups.ts';
import { RedisHeartbeat } from './group/heartbeat.ts';
import { BEGINNING, comparePositions } from './stream-id.ts';
import { readGroups } from './replies.ts';

const BLOCK_MS_MAX = 1000;
const BLOCK_GRACE_MS = 2000;
const HEARTBEAT_MS = 5000;

export interface PartitionTools {
  /** this reader's own: it blocks */
  reader: RedisConnection;
  /** never blocks */
  commands: RedisConnection;
  groups: RedisGroups;
  clock: Clock;
  onClosed: () => void;
}

/**
 * XREAD from a position, without the group: an owner that was replaced without knowing can then take nothing away from its
 * successor. The group only shows how far its owner is, for trimming and for tools.
 */
export class RedisPartitionReader implements PartitionReader {
  readonly #stream: Stream;
  readonly #group: string;
  readonly #member: string;
  readonly #tools: PartitionTools;
  readonly #heartbeat: RedisHeartbeat;
  #after: string;
  #released = BEGINNING;
  #isClosed = false;
  emptyAsOfMs = -Infinity;

  constructor(
    stream: Stream,
    options: { group: string; member: string; after: string | null },
    tools: PartitionTools,
  ) {
    this.#stream = stream;
    this.#group = options.group;
    this.#member = options.member;
    this.#after = options.after ?? BEGINNING;
    this.#tools = tools;
    this.#heartbeat = new RedisHeartbeat(tools.commands, [stream], this.#group, this.#member, HEARTBEAT_MS);
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    const endMs = this.#tools.clock.monotonicMs() + waitMs;
    for (;;) {
      if (this.#isClosed) throw new BusError('unreachable', 'this reader is closed');
      const askedMs = this.#tools.clock.monotonicMs();
      const leftMs = Math.max(0, endMs - askedMs);
      const entries = await this.#read(limit, Math.floor(Math.min(leftMs, BLOCK_MS_MAX)));
      const last = entries.at(-1);
      if (last !== undefined) {
        this.#after = last[0].toString('latin1');
        const { topic, partition } = this.#stream;
        const nowMs = wallMs(this.#tools.clock);
        return entries.map((entry) => toDelivery(topic, partition, entry, 1, nowMs));
      }
      this.emptyAsOfMs = askedMs;
      if (leftMs === 0) return [];
    }
  }

  async release(position: string): Promise<void> {
    if (comparePositions(position, this.#released) <= 0) return;
    try {
      if (!(await this.#setPosition(position))) {
        await this.#tools.groups.remake([this.#stream], this.#group);
        await this.#setPosition(position);
      }
    } catch (error) {
      throw toBusError(error, `position of group ${this.#group}`);
    }
    this.#released = position;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.disconnect();
    this.#tools.onClosed();
    await this.#heartbeat.stop();
    try {
      // nothing was ever pending for it
      await this.#tools.commands.run(ANSWER_MS, (client) =>
        client.xgroup('DELCONSUMER', this.#stream.key, this.#group, this.#member),
      );
    } catch {
      // only the name stays in the list of consumers
    }
  }

  disconnect(): void {
    this.#isClosed = true;
    void this.#heartbeat.stop();
    this.#tools.reader.close();
  }

  async #read(limit: number, blockMs: number): Promise<RawEntry[]> {
    const block = blockMs > 0 ? ['BLOCK', String(blockMs)] : [];
    const args = ['COUNT', String(limit), ...block, 'STREAMS', this.#stream.key, this.#after];
    try {
      const reply = (await this.#tools.reader.run(blockMs + BLOCK_GRACE_MS, (client) =>
        client.callBuffer('XREAD', args),
      )) as [Buffer, RawEntry[]][] | null;
      return reply?.[0]?.[1] ?? [];
    } catch (error) {
      throw toBusError(error, `partition ${this.#stream.key}`);
    }
  }

  /** False when there is no such group. Never moves the position back. */
  async #setPosition(position: string): Promise<boolean> {
    const { key } = this.#stream;
    return this.#tools.commands.run(ANSWER_MS, async (client) => {
      const group = (await readGroups(client, key)).find(({ name }) => name === this.#group);
      if (group === undefined) return false;
      if (comparePositions(group.lastDelivered, position) >= 0) return true;
      try {
        await client.xgroup('SETID', key, this.#group, position);
        return true;
      } catch (error) {
        const isMissing = replyWord(error) === 'NOGROUP' || (await client.exists(key)) === 0;
        if (isMissing) return false;
        throw error;
      }
    });
  }
}
