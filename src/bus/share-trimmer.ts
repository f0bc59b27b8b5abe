import type { Env } from '../core/env.ts';
import type { BusUsage, StreamBus } from './bus.ts';

/** records read at once: each may be 1 MiB */
const PAGE = 20;
/** about what a record costs beside its data */
const OVERHEAD_BYTES = 100;
/** that some went before their time is logged again after this, ms */
const REPEAT_MS = 60_000;

type TrimmedBus = Pick<StreamBus, 'partitions' | 'read' | 'remove' | 'trim'>;

/** How long a topic keeps its records, and how much of the bus they may take. */
export interface TopicShare {
  topic: string;
  /** how its records are called in the log: Dead letters */
  records: string;
  /** those that nobody acknowledges go after this, ms */
  ageMs: number;
  /** those that every group has acknowledged go after this, ms */
  acknowledgedMs: number;
  /** fraction of the bus's maximum: beyond it the oldest of them go */
  share: number;
  /** level of the log line that says so */
  level: 'error' | 'info';
}

/**
 * Keeps the records of a topic for their time and within their share of the bus: dead letters, which nobody acknowledges, and
 * signals, which nobody has to. Without a share, a feed that sends nothing but garbage would fill the bus and stop every publisher.
 */
export class ShareTrimmer {
  readonly #bus: TrimmedBus;
  readonly #env: Env;
  readonly #topic: TopicShare;
  #removed = 0;
  #unlogged = 0;
  #loggedMs = -Infinity;

  constructor(bus: TrimmedBus, topic: TopicShare, env: Env) {
    this.#bus = bus;
    this.#topic = topic;
    this.#env = env;
  }

  /** Records removed before their time. */
  get removed(): number {
    return this.#removed;
  }

  /** Those beyond their age; then the oldest of what is beyond the share. @returns how many */
  async trim({ maxBytes, topics }: BusUsage): Promise<number> {
    const { topic, ageMs, acknowledgedMs, share } = this.#topic;
    const policy = { acknowledgedMs, retentionMs: ageMs, outlivesProcess: true };
    const aged = await this.#bus.trim(topic, policy);
    const shareBytes = Math.floor(share * maxBytes);
    const beyond = (topics.get(topic) ?? 0) - shareBytes;
    // measured before the trimming: the next look sees what that freed
    if (aged > 0 || beyond <= 0) return aged;
    const removed = await this.#removeOldest(beyond);
    this.#removed += removed;
    this.#unlogged += removed;
    this.#logRemoved(shareBytes);
    return removed;
  }

  async #removeOldest(bytes: number): Promise<number> {
    let removed = 0;
    let left = bytes;
    for (let partition = 0; partition < this.#bus.partitions(this.#topic.topic) && left > 0; partition += 1) {
      let upTo: string | null = null;
      while (left > 0) {
        const records = await this.#bus.read(this.#topic.topic, partition, upTo, PAGE);
        if (records.length === 0) break;
        for (const { data, position } of records) {
          left -= (data?.length ?? 0) + OVERHEAD_BYTES;
          upTo = position;
          if (left <= 0) break;
        }
      }
      if (upTo !== null) removed += await this.#bus.remove(this.#topic.topic, partition, upTo);
    }
    return removed;
  }

  #logRemoved(shareBytes: number): void {
    const nowMs = this.#env.clock.monotonicMs();
    if (this.#unlogged === 0 || nowMs - this.#loggedMs < REPEAT_MS) return;
    const { topic, records, level } = this.#topic;
    this.#env.log(level, `${records} take more than their share of the bus: the oldest were removed`, {
      topic,
      removed: this.#unlogged,
      share_bytes: shareBytes,
    });
    this.#unlogged = 0;
    this.#loggedMs = nowMs;
  }
}
