import { BusError, type OutgoingRecord, type StreamBus } from '../../bus/bus.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import { envOf, type Env } from '../../core/env.ts';
import {
  encodeWebhookTick,
  WEBHOOK_TICKS_MAX,
  WEBHOOK_TOPIC,
  type WebhookTick,
} from '../../core/market/webhook-tick.ts';
import { deadline } from '../../core/wait.ts';
import { NO_METER, type Meter } from '../meter.ts';
import { FLUSHER_GROUP } from './tick-flusher.ts';

/** Why ticks cannot be kept at the moment; the same request may be sent again. */
export type IntakeFailure =
  /** the bus has no room, or too many ticks wait for it already */
  | 'full'
  /** the bus does not answer */
  | 'unreachable'
  /** the bus cannot be used as it is configured: waiting does not help */
  | 'setup'
  /** the bus has not answered in time: the ticks may be on it */
  | 'timeout';

export class IntakeError extends Error {
  override name = 'IntakeError';
  readonly kind: IntakeFailure;

  constructor(kind: IntakeFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

export interface IntakeLimits {
  /** records of one publish */
  batchRecords: number;
  /** publishes under way at once */
  publishes: number;
  /** ticks accepted and not yet on the bus: above it further requests are refused */
  queueTicks: number;
  /** a request that is not on the bus after this is refused, ms */
  answerMs: number;
}

export const INTAKE_LIMITS: IntakeLimits = {
  batchRecords: 1_000,
  publishes: 2,
  queueTicks: 5 * WEBHOOK_TICKS_MAX,
  answerMs: 5_000,
};

export interface TickIntakeOptions {
  bus: Pick<StreamBus, 'publish' | 'partitions' | 'groups' | 'openPartition'>;
  /** whether the bus has room */
  backpressure: Backpressure;
  /** of the flusher (default tick-flusher): it exists before anything is published, so nothing is trimmed unread */
  group?: string;
  /** unique among the members of the group; default intake */
  member?: string;
  limits?: Partial<IntakeLimits>;
  meter?: Meter;
  env?: Partial<Env>;
}

/** The ticks of one request on their way. */
interface Request {
  records: readonly OutgoingRecord[];
  /** of records: handed to a publish */
  sent: number;
  /** of records: on the bus */
  durable: number;
  resolve: () => void;
  reject: (error: IntakeError) => void;
}

/** Records of one request in one publish. */
interface Part {
  request: Request;
  count: number;
}

/**
 * What POST /ingest/tick hands accepted ticks to: they are on ticks.received, as durable as the bus can promise, when accept()
 * resolves. Requests that come while a publish is under way go out together with the next one.
 *
 *   accept ─► [full?] ─► queue ─► publish (a few at once) ─► resolved
 *               │ 503                │ failed: every request in it is refused, its ticks may be on the bus
 */
export class TickIntake {
  readonly #options: TickIntakeOptions;
  readonly #limits: IntakeLimits;
  readonly #meter: Meter;
  readonly #env: Env;
  readonly #queue: Request[] = [];
  #ready: Promise<void> | null = null;
  #waiting = 0;
  #publishes = 0;
  #isClosed = false;
  #whenIdle: (() => void) | null = null;
  /** the last publish failed: told once */
  #isFailing = false;

  constructor(options: TickIntakeOptions) {
    this.#options = options;
    this.#limits = { ...INTAKE_LIMITS, ...options.limits };
    this.#meter = options.meter ?? NO_METER;
    this.#env = envOf(options.env);
  }

  /** Ticks accepted and not yet on the bus. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Makes the group while the database, which knows how far it has come, is there: then ticks are taken during its outages as well.
   * Rejects with what the bus or the database says; accept() then tries again.
   */
  async prepare(): Promise<void> {
    this.#ready ??= this.#makeGroup();
    await this.#ready;
  }

  /** Resolves when the ticks are on the bus. Rejects with IntakeError: then none, some or all of them are. */
  async accept(ticks: readonly WebhookTick[]): Promise<void> {
    try {
      await this.#accept(ticks);
    } catch (error) {
      if (error instanceof IntakeError) this.#meter.count('webhook_rejected_total', { reason: error.kind });
      throw error;
    }
    this.#meter.count('webhook_accepted_total', {}, ticks.length);
  }

  /** Takes no more requests; resolves when those in hand are answered. */
  async stop(): Promise<void> {
    this.#isClosed = true;
    if (this.#publishes === 0 && this.#queue.length === 0) return;
    await new Promise<void>((resolve) => (this.#whenIdle = resolve));
  }

  async #accept(ticks: readonly WebhookTick[]): Promise<void> {
    if (ticks.length === 0) return;
    if (this.#isClosed) throw new IntakeError('unreachable', 'this process ends');
    if (this.#options.backpressure.full) throw new IntakeError('full', 'the bus is full');
    if (this.#waiting > 0 && this.#waiting + ticks.length > this.#limits.queueTicks)
      throw new IntakeError('full', `${this.#waiting} ticks wait for the bus`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const records = ticks.map(recordOf);
    const request: Request = { records, sent: 0, durable: 0, resolve, reject };
    this.#queue.push(request);
    this.#waiting += ticks.length;
    this.#pump();
    const { answerMs } = this.#limits;
    try {
      await deadline(
        promise,
        answerMs,
        () => new IntakeError('timeout', `no answer of the bus for ${answerMs} ms`),
      );
    } finally {
      this.#settle(request);
    }
  }

  /** Its caller is answered: what is left of it is not published. */
  #settle(request: Request): void {
    this.#waiting -= request.records.length;
    const at = request.sent < request.records.length ? this.#queue.indexOf(request) : -1;
    if (at >= 0) this.#queue.splice(at, 1);
  }

  #pump(): void {
    while (this.#publishes < this.#limits.publishes) {
      const parts = this.#takeParts();
      if (parts.length === 0) break;
      this.#publishes += 1;
      void this.#publish(parts).finally(() => {
        this.#publishes -= 1;
        this.#pump();
      });
    }
    if (this.#publishes === 0 && this.#queue.length === 0) this.#whenIdle?.();
  }

  /** The next records, of the oldest requests first. */
  #takeParts(): Part[] {
    const parts: Part[] = [];
    let room = this.#limits.batchRecords;
    while (room > 0 && this.#queue.length > 0) {
      const [request] = this.#queue;
      const count = Math.min(room, request.records.length - request.sent);
      parts.push({ request, count });
      request.sent += count;
      room -= count;
      if (request.sent === request.records.length) this.#queue.shift();
    }
    return parts;
  }

  /** Never rejects. */
  async #publish(parts: readonly Part[]): Promise<void> {
    const { bus, backpressure } = this.#options;
    // taken before anything is awaited: `sent` grows with the next publish
    const records = parts.flatMap(({ request, count }) =>
      request.records.slice(request.sent - count, request.sent),
    );
    try {
      await this.prepare();
      await bus.publish(WEBHOOK_TOPIC, records);
    } catch (error) {
      this.#failed(parts, error);
      return;
    }
    backpressure.reportTaken();
    this.#isFailing = false;
    this.#meter.count('webhook_publishes_total', {});
    for (const { request, count } of parts) {
      request.durable += count;
      if (request.durable === request.records.length) request.resolve();
    }
  }

  #failed(parts: readonly Part[], error: unknown): void {
    const kind = failureOf(error);
    if (kind === 'full') this.#options.backpressure.reportFull();
    if (!this.#isFailing)
      this.#env.log(kind === 'setup' ? 'error' : 'warn', 'The webhook cannot keep ticks', {
        kind,
        err: error,
      });
    this.#isFailing = true;
    const failure = new IntakeError(kind, 'the bus does not take ticks', error);
    for (const { request } of parts) request.reject(failure);
  }

  /** A topic without groups is trimmed by age, and one whose groups are others' by what those have read. */
  async #makeGroup(): Promise<void> {
    const { bus, group = FLUSHER_GROUP, member = 'intake' } = this.#options;
    try {
      const there = new Set(
        (await bus.groups(WEBHOOK_TOPIC))
          .filter((one) => one.group === group)
          .map(({ partition }) => partition),
      );
      for (let partition = 0; partition < bus.partitions(WEBHOOK_TOPIC); partition += 1) {
        if (there.has(partition)) continue;
        const reader = await bus.openPartition({
          topic: WEBHOOK_TOPIC,
          group,
          member,
          partition,
          after: null,
        });
        await reader.close();
      }
    } catch (error) {
      this.#ready = null;
      throw error;
    }
  }
}

function failureOf(error: unknown): IntakeFailure {
  if (!(error instanceof BusError)) return 'unreachable';
  // a record of some hundred bytes is refused by a bus that is set up to refuse it
  return error.kind === 'refused' ? 'setup' : error.kind;
}

function recordOf(tick: WebhookTick): OutgoingRecord {
  return { key: tick.symbol, eventId: tick.eventId, data: encodeWebhookTick(tick), encoding: 'json' };
}
