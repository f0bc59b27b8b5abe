import type { Env } from '../core/env.ts';
import type { Backpressure } from '../core/bus/capacity.ts';
import { deadLetterId, deadLetterOf, encodeDeadLetter } from '../core/market/dead-letter.ts';
import { encodeEvent } from '../core/market/codec/encode.ts';
import type { MarketEvent } from '../core/market/event.ts';
import { backoffMs, type BackoffLimits } from '../core/retry.ts';
import { Signal, pause, unlessAborted } from '../core/wait.ts';
import { BusError, type BusErrorKind, type Encoding, type OutgoingRecord, type StreamBus } from './bus.ts';

/** A record and the provider that it is counted for. */
export interface PublishRecord extends OutgoingRecord {
  provider: string;
}

export interface PublisherLimits {
  /** records of one publish */
  batchRecords: number;
  /** bytes of one publish, as far as records are smaller */
  batchBytes: number;
  /** accepted and not yet on the bus: above either limit, add() waits */
  queueRecords: number;
  queueBytes: number;
  /** between attempts, which never end */
  backoff: BackoffLimits;
  /** how long stop() goes on trying, ms */
  drainMs: number;
}

export const PUBLISHER_LIMITS: PublisherLimits = {
  batchRecords: 1000,
  batchBytes: 1024 * 1024,
  queueRecords: 20_000,
  queueBytes: 32 * 1024 * 1024,
  backoff: { firstMs: 100, maxMs: 5000 },
  drainMs: 10_000,
};

export interface PublisherOptions {
  bus: Pick<StreamBus, 'publish'>;
  topic: string;
  /** where a record goes that the bus refuses */
  deadLetterTopic: string;
  backpressure: Backpressure;
  limits: PublisherLimits;
  /** records of one provider are on the bus */
  published: (provider: string, records: number) => void;
  /** an attempt failed; for errors_total */
  failed: (kind: BusErrorKind) => void;
  env: Env;
}

/** An event as a record of mdp.events. */
export function eventRecord(event: MarketEvent, encoding: Encoding): PublishRecord {
  const { provider, symbol, eventId } = event;
  return { provider, key: symbol, eventId, encoding, data: encodeEvent(event, encoding) };
}

/** What add() and settled() reject with once stop() was called. */
export class PublisherStopped extends Error {
  override name = 'PublisherStopped';
}

/**
 * What every producer publishes through: a bounded queue, one batch in flight at a time, in order.
 *
 *   add ─► queue ─► [full?] ─► publish ─► counted
 *            ▲ full: add() waits   │ unreachable, full ─► the same batch again, later, without end (full: alarm)
 *                                  │ refused ─► halves, down to the record that cannot be taken ─► dead letter
 *                                  └ setup, or anything unknown ─► add() and settled() reject from now on
 *
 * A batch whose answer was lost is sent again: records may be on the bus twice, with equal event ids. No timer forms
 * batches: what arrives while one is in flight is the next.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #limits: PublisherLimits;
  readonly #abort = new AbortController();
  readonly #broken = new AbortController();
  readonly #added = new Signal();
  readonly #progress = new Signal();
  readonly #finished: Promise<void>;
  #queue: PublishRecord[] = [];
  #queueBytes = 0;
  /** records accepted since the start, and how many of them are on the bus or dead letters */
  #accepted = 0;
  #settled = 0;
  #stopping = false;
  #failure: Error | null = null;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#finished = this.#work().catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      if (!(error instanceof PublisherStopped)) this.#broken.abort(this.#failure);
      this.#progress.fire();
    });
  }

  /** Aborts with the failure that ended it, for callers that add nothing at the moment; not with stop(). */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Records on the bus or dead letters, in the order they were accepted. */
  get settledCount(): number {
    return this.#settled;
  }

  /** Records accepted and not yet on the bus. */
  get queued(): number {
    return this.#accepted - this.#settled;
  }

  /**
   * Accepts records, in order, and resolves when all are in the queue: not when they are published. Rejects with what ended
   * the publisher; then some of them may have been accepted.
   */
  async add(records: readonly PublishRecord[]): Promise<void> {
    for (const record of records) {
      while (this.#isFull()) {
        this.#assertOpen();
        await this.#progress.wait();
      }
      this.#assertOpen();
      this.#queue.push(record);
      this.#queueBytes += record.data.length;
      this.#accepted += 1;
      this.#added.fire();
    }
  }

  /** Resolves when everything accepted before is on the bus or a dead letter; rejects when that will not happen. */
  async settled(): Promise<void> {
    const target = this.#accepted;
    while (this.#settled < target) {
      if (this.#failure !== null) throw this.#failure;
      await this.#progress.wait();
    }
  }

  /** Publishes what is in the queue, for drainMs at most. Resolves with how many records are not known to be on the bus. */
  async stop(): Promise<number> {
    this.#stopping = true;
    this.#added.fire();
    this.#progress.fire();
    const drained = new AbortController();
    await Promise.race([this.#finished, pause(this.#limits.drainMs, drained.signal)]);
    drained.abort();
    this.#abort.abort();
    this.#failure ??= new PublisherStopped('the publisher was stopped');
    this.#progress.fire();
    if (this.queued > 0) {
      this.#options.env.log('error', 'Events were not published', {
        topic: this.#options.topic,
        events: this.queued,
      });
    }
    return this.queued;
  }

  #assertOpen(): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#stopping) throw new PublisherStopped('the publisher is being stopped');
  }

  #isFull(): boolean {
    return (
      this.queued >= this.#limits.queueRecords ||
      (this.queued > 0 && this.#queueBytes >= this.#limits.queueBytes)
    );
  }

  async #work(): Promise<void> {
    const { topic, backpressure } = this.#options;
    const { signal } = this.#abort;
    for (;;) {
      while (this.#queue.length === 0) {
        if (this.#stopping) return;
        await this.#added.wait();
      }
      if (backpressure.full) await unlessAborted(backpressure.relieved(), signal);
      if (signal.aborted) return;
      const batch = this.#takeBatch();
      await this.#deliver(topic, batch);
    }
  }

  #takeBatch(): PublishRecord[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < this.#limits.batchRecords) {
      bytes += this.#queue[count].data.length;
      if (count > 0 && bytes > this.#limits.batchBytes) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** Until every record is on the bus or a dead letter. @throws what ends the publisher */
  async #deliver(topic: string, batch: readonly PublishRecord[]): Promise<void> {
    if (await this.#publish(topic, batch)) {
      for (const [provider, count] of countByProvider(batch)) this.#options.published(provider, count);
      this.#settle(batch);
      return;
    }
    if (batch.length === 1) {
      await this.#deadLetter(batch[0]);
      this.#settle(batch);
      return;
    }
    const middle = batch.length >> 1;
    await this.#deliver(topic, batch.slice(0, middle));
    await this.#deliver(topic, batch.slice(middle));
  }

  /** False: the bus refuses one of them. Repeats what may pass by itself. */
  async #publish(topic: string, batch: readonly PublishRecord[]): Promise<boolean> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        if ((await unlessAborted(this.#options.bus.publish(topic, batch), this.#abort.signal)) === null) {
          throw new PublisherStopped('the publisher was stopped');
        }
        this.#options.backpressure.reportTaken();
        if (attempt > 0) this.#options.env.log('info', 'Publishing again', { topic, attempts: attempt + 1 });
        return true;
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        this.#options.failed(error.kind);
        if (error.kind === 'refused') return false;
        if (error.kind === 'setup') throw error;
        if (error.kind === 'full') this.#options.backpressure.reportFull();
        if (attempt === 0) {
          const fields = { topic, kind: error.kind, error: error.message, events: batch.length };
          this.#options.env.log('warn', 'The bus does not take events (will try again)', fields);
        }
      }
      await pause(backoffMs(attempt, this.#limits.backoff, this.#options.env.random()), this.#abort.signal);
      if (this.#abort.signal.aborted) throw new PublisherStopped('the publisher was stopped');
    }
  }

  async #deadLetter(record: PublishRecord): Promise<void> {
    const { topic, deadLetterTopic, env } = this.#options;
    const { provider, key, eventId, encoding, data } = record;
    const deadLetter = deadLetterOf({
      topic,
      msgId: null,
      group: null,
      reason: 'refused_by_bus',
      detail: `the bus refuses ${data.length} bytes of ${eventId ?? key}`,
      key,
      encoding,
      raw: data,
      at: env.clock.nowMicros(),
    });
    const replacement: PublishRecord = {
      provider,
      key,
      eventId: deadLetterId(deadLetter),
      encoding: 'json',
      data: encodeDeadLetter(deadLetter),
    };
    env.log('error', 'The bus refuses an event', { topic, event_id: eventId, bytes: data.length });
    if (!(await this.#publish(deadLetterTopic, [replacement]))) {
      throw new BusError(
        'setup',
        `${deadLetterTopic} refuses a dead letter of ${replacement.data.length} bytes`,
      );
    }
  }

  #settle(batch: readonly PublishRecord[]): void {
    this.#settled += batch.length;
    for (const { data } of batch) this.#queueBytes -= data.length;
    this.#progress.fire();
  }
}

function countByProvider(batch: readonly PublishRecord[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { provider } of batch) counts.set(provider, (counts.get(provider) ?? 0) + 1);
  return counts;
}
