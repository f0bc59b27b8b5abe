import type { Env } from '../core/env.ts';
import type { CapacityLimits } from '../core/bus/capacity.ts';
import type { BusUsage, StreamBus } from './bus.ts';

/** dead letters read at once: each may be 1 MiB */
const PAGE = 20;
/** about what a record costs beside its data */
const OVERHEAD_BYTES = 100;
/** that some went before their time is logged again after this, ms */
const REPEAT_MS = 60_000;

type TrimmedBus = Pick<StreamBus, 'partitions' | 'read' | 'remove' | 'trim'>;

/**
 * Keeps dead letters for their time and within their share of the bus. Nobody acknowledges them: without a share, a feed that
 * sends nothing but garbage would fill the bus and stop every publisher.
 */
export class DeadLetterTrimmer {
  readonly #bus: TrimmedBus;
  readonly #topic: string;
  readonly #env: Env;
  readonly #limits: Pick<CapacityLimits, 'deadLetterMs' | 'deadLetterShare'>;
  #removed = 0;
  #unlogged = 0;
  #loggedMs = -Infinity;

  constructor(
    bus: TrimmedBus,
    topic: string,
    env: Env,
    limits: Pick<CapacityLimits, 'deadLetterMs' | 'deadLetterShare'>,
  ) {
    this.#bus = bus;
    this.#topic = topic;
    this.#env = env;
    this.#limits = limits;
  }

  /** Dead letters removed before their time. */
  get removed(): number {
    return this.#removed;
  }

  /** Those beyond their age, acknowledged or not; then the oldest of what is beyond their share. @returns how many */
  async trim({ maxBytes, topics }: BusUsage): Promise<number> {
    const { deadLetterMs, deadLetterShare } = this.#limits;
    const policy = { acknowledgedMs: deadLetterMs, retentionMs: deadLetterMs, outlivesProcess: true };
    const aged = await this.#bus.trim(this.#topic, policy);
    const shareBytes = Math.floor(deadLetterShare * maxBytes);
    const beyond = (topics.get(this.#topic) ?? 0) - shareBytes;
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
    for (let partition = 0; partition < this.#bus.partitions(this.#topic) && left > 0; partition += 1) {
      let upTo: string | null = null;
      while (left > 0) {
        const records = await this.#bus.read(this.#topic, partition, upTo, PAGE);
        if (records.length === 0) break;
        for (const { data, position } of records) {
          left -= (data?.length ?? 0) + OVERHEAD_BYTES;
          upTo = position;
          if (left <= 0) break;
        }
      }
      if (upTo !== null) removed += await this.#bus.remove(this.#topic, partition, upTo);
    }
    return removed;
  }

  #logRemoved(shareBytes: number): void {
    const nowMs = this.#env.clock.monotonicMs();
    if (this.#unlogged === 0 || nowMs - this.#loggedMs < REPEAT_MS) return;
    this.#env.log('error', 'Dead letters take more than their share of the bus: the oldest were removed', {
      topic: this.#topic,
      removed: this.#unlogged,
      share_bytes: shareBytes,
    });
    this.#unlogged = 0;
    this.#loggedMs = nowMs;
  }
}
