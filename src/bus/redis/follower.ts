import type { Redis } from 'ioredis';
import { wallMs, type Clock } from '../../core/time.ts';
import { BusError, TrimmedError, type BusFollower, type Delivery } from '../bus.ts';
import type { RedisConnection } from './connection.ts';
import { toDelivery, type RawEntry } from './entry.ts';
import { replyWord, toBusError } from './errors.ts';
import { ANSWER_MS, type Stream } from './group/groups.ts';
import { fieldsOf, type Reply } from './replies.ts';
import { BEGINNING, comparePositions } from './stream-id.ts';

const BLOCK_MS_MAX = 1000;
const BLOCK_GRACE_MS = 2000;

export interface FollowerTools {
  /** this follower's own: it blocks */
  reader: RedisConnection;
  clock: Clock;
  onClosed: () => void;
}

type Answer = [error: Error | null, result: unknown][];

/**
 * Reads behind its position, in a transaction with a look at the entry at that position: while that one is there, nothing
 * behind it was trimmed, as streams are trimmed from their beginning. Where it is not there, the server is asked for the
 * highest id that it ever deleted. XREAD BLOCK waits only behind a read that was checked and had found nothing.
 */
export class RedisFollower implements BusFollower {
  readonly #stream: Stream;
  readonly #tools: FollowerTools;
  #after: string;
  /** what lies at the position was there once, so that a loss behind it can be recognised */
  #isChecked: boolean;
  #isClosed = false;

  constructor(stream: Stream, after: string | null, tools: FollowerTools) {
    this.#stream = stream;
    this.#after = after ?? BEGINNING;
    this.#isChecked = after !== null;
    this.#tools = tools;
  }

  async next(limit: number, waitMs: number): Promise<Delivery[]> {
    if (limit <= 0) return [];
    const { clock } = this.#tools;
    const endMs = clock.monotonicMs() + waitMs;
    for (;;) {
      if (this.#isClosed) throw new BusError('unreachable', 'this follower is closed');
      const present = await this.#read(limit);
      if (present.length > 0) return this.#taken(present);
      const leftMs = Math.floor(Math.min(endMs - clock.monotonicMs(), BLOCK_MS_MAX));
      if (leftMs <= 0) return [];
      const arrived = await this.#wait(limit, leftMs);
      if (arrived.length > 0) return this.#taken(arrived);
    }
  }

  async close(): Promise<void> {
    this.disconnect();
    this.#tools.onClosed();
  }

  disconnect(): void {
    this.#isClosed = true;
    this.#tools.reader.close();
  }

  #taken(entries: readonly RawEntry[]): Delivery[] {
    this.#after = (entries.at(-1) as RawEntry)[0].toString('latin1');
    this.#isChecked = true;
    const { topic, partition } = this.#stream;
    const nowMs = wallMs(this.#tools.clock);
    return entries.map((entry) => toDelivery(topic, partition, entry, 1, nowMs));
  }

  async #read(limit: number): Promise<RawEntry[]> {
    const { key } = this.#stream;
    const [after, from] = [this.#after, `(${this.#after}`];
    if (!this.#isChecked) return this.#run((client) => client.xrangeBuffer(key, from, '+', 'COUNT', limit));
    const answer = await this.#run((client) =>
      client
        .multi()
        .xrangeBuffer(key, after, after, 'COUNT', 1)
        .xrangeBuffer(key, from, '+', 'COUNT', limit)
        .exec(),
    );
    const [own, behind] = resultsOf(answer);
    if ((own as RawEntry[]).length > 0) return behind as RawEntry[];
    return this.#readBehindLoss(limit);
  }

  /** The entry at the position is not there. */
  async #readBehindLoss(limit: number): Promise<RawEntry[]> {
    const { key, topic, partition } = this.#stream;
    const answer = await this.#run((client) =>
      client.multi().xinfo('STREAM', key).xrangeBuffer(key, `(${this.#after}`, '+', 'COUNT', limit).exec(),
    );
    const [info, behind] = (answer ?? []) as Answer;
    if (info === undefined) throw new BusError('unreachable', 'Redis refused a transaction');
    // no stream at all: the only error that XINFO has for a stream's key
    if (info[0] !== null && replyWord(info[0]) !== 'ERR') throw toBusError(info[0], `following ${key}`);
    const fields = fieldsOf(info[0] === null ? (info[1] as Reply) : null);
    const newest = String(fields.get('last-generated-id') ?? BEGINNING);
    const deleted = String(fields.get('max-deleted-entry-id') ?? BEGINNING);
    const isAnother = comparePositions(newest, this.#after) < 0;
    if (!isAnother && comparePositions(deleted, this.#after) <= 0) return (behind?.[1] ?? []) as RawEntry[];
    const first = fields.get('first-entry');
    const position = Array.isArray(first) ? String(first[0]) : null;
    // a single entry that somebody deleted among others that are still there
    const isFront = position === null || comparePositions(position, this.#after) > 0;
    if (!isAnother && !isFront) return (behind?.[1] ?? []) as RawEntry[];
    this.#after = isAnother ? BEGINNING : position === null ? newest : this.#after;
    this.#isChecked = !isAnother && position === null;
    throw new TrimmedError(topic, partition, position);
  }

  async #wait(limit: number, blockMs: number): Promise<RawEntry[]> {
    const args = ['COUNT', String(limit), 'BLOCK', String(blockMs), 'STREAMS', this.#stream.key, this.#after];
    const reply = await this.#run(
      (client) => client.callBuffer('XREAD', args) as Promise<[Buffer, RawEntry[]][] | null>,
      blockMs + BLOCK_GRACE_MS,
    );
    return reply?.[0]?.[1] ?? [];
  }

  async #run<T>(work: (client: Redis) => Promise<T>, silenceMs = ANSWER_MS): Promise<T> {
    try {
      return await this.#tools.reader.run(silenceMs, work);
    } catch (error) {
      throw toBusError(error, `following ${this.#stream.key}`);
    }
  }
}

/** Of a transaction whose commands must all succeed. */
function resultsOf(answer: unknown): unknown[] {
  if (answer === null) throw new BusError('unreachable', 'Redis refused a transaction');
  return (answer as Answer).map(([error, result]) => {
    if (error !== null) throw error;
    return result;
  });
}
