import type { LogLine } from '../../core/env.ts';
import type { Encoding, StreamBus } from '../../bus/bus.ts';
import { eventRecord, Publisher, PUBLISHER_LIMITS, type PublisherLimits } from '../../bus/publisher.ts';
import { unlessAborted } from '../../core/wait.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import { DEAD_LETTER_TOPIC } from '../../core/market/dead-letter.ts';
import type { MarketEvent } from '../../core/market/event.ts';
import { systemClock, type Clock } from '../../core/time.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';
import { NO_METER, type Meter } from '../meter.ts';

/** What every producer is given. */
export interface ProducerHost {
  bus: Pick<StreamBus, 'kind' | 'publish'>;
  /** default: there is always room */
  backpressure?: Backpressure;
  /** default mdp.events */
  topic?: string;
  /** default json */
  encoding?: Encoding;
  /** null: its runs are not recorded */
  jobRuns?: JobRunTracker | null;
  meter?: Meter;
  log?: LogLine;
  clock?: Clock;
  random?: () => number;
  limits?: PublisherLimits;
}

export interface ProducerIdentity {
  /** of the heartbeat, errors_total and the log: synthetic, ibkr, orders */
  stage: string;
  provider: string;
  symbols: readonly string[] | null;
  metadata?: Readonly<Record<string, unknown>>;
}

export interface ProducerProgress {
  /** events that are on the bus */
  published: number;
  /** events handed in and not yet on the bus */
  queued: number;
}

const BEAT_MS = 1_000;
const REPORT_EVERY_BEATS = 5;
const NEVER_FULL: Backpressure = {
  full: false,
  relieved: () => Promise.resolve(),
  reportFull: () => {},
  reportTaken: () => {},
};

/** One run of a producer: its publisher, its row in job_runs, its metrics and its progress. */
export class ProducerRun {
  readonly #identity: ProducerIdentity;
  readonly #encoding: Encoding;
  readonly #jobRuns: JobRunTracker | null;
  readonly #publisher: Publisher;
  readonly meter: Meter;
  readonly log: LogLine;
  readonly clock: Clock;
  readonly random: () => number;
  #published = 0;
  #reported = 0;
  #minTs: bigint | null = null;
  #maxTs: bigint | null = null;
  #id: Promise<number> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #beats = 0;
  #beating: Promise<void> | null = null;

  constructor(host: ProducerHost, identity: ProducerIdentity) {
    const { bus, topic = 'mdp.events' } = host;
    this.#identity = identity;
    this.#encoding = host.encoding ?? 'json';
    this.#jobRuns = host.jobRuns ?? null;
    this.meter = host.meter ?? NO_METER;
    this.log = host.log ?? ((): void => {});
    this.clock = host.clock ?? systemClock;
    this.random = host.random ?? Math.random;
    const component = `producer_${identity.stage}`;
    const counted = (provider: string, records: number): void =>
      this.meter.count('stream_events_ingested_total', { bus: bus.kind, topic, provider }, records);
    counted(identity.provider, 0);
    this.#publisher = new Publisher({
      bus,
      topic,
      deadLetterTopic: DEAD_LETTER_TOPIC,
      backpressure: host.backpressure ?? NEVER_FULL,
      limits: host.limits ?? PUBLISHER_LIMITS,
      published: (provider, records) => {
        this.#published += records;
        counted(provider, records);
      },
      failed: (kind) => {
        if (kind === 'refused') this.meter.count('errors_total', { component, reason: 'refused_by_bus' });
        else this.meter.count('retries_total', { component });
      },
      env: { log: this.log, clock: this.clock, random: this.random },
    });
  }

  get progress(): ProducerProgress {
    return { published: this.#published, queued: this.#publisher.queued };
  }

  /** Aborts with what ended the publisher, if anything does. */
  get broken(): AbortSignal {
    return this.#publisher.broken;
  }

  start(): void {
    this.#timer = setInterval(() => this.#beatOnce(), BEAT_MS);
    this.#beatOnce();
  }

  /**
   * Resolves when the queue has taken them, in order, or when `stopping` aborts: then some of them may not be taken.
   * Rejects with what ended the publisher.
   */
  async add(events: readonly MarketEvent[], stopping: AbortSignal): Promise<void> {
    if (events.length === 0) return;
    for (const { srcTs } of events) {
      if (this.#minTs === null || srcTs < this.#minTs) this.#minTs = srcTs;
      if (this.#maxTs === null || srcTs > this.#maxTs) this.#maxTs = srcTs;
    }
    const records = events.map((event) => eventRecord(event, this.#encoding));
    await unlessAborted(this.#publisher.add(records), stopping);
  }

  /** Resolves with true when everything that was added is on the bus or a dead letter, with false when `stopping` aborts. */
  async settled(stopping: AbortSignal): Promise<boolean> {
    return (
      (await unlessAborted(
        this.#publisher.settled().then(() => true),
        stopping,
      )) ?? false
    );
  }

  /** Publishes what is in the queue and closes the books. */
  async finish(failure: Error | null): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    const unpublished = await this.#publisher.stop();
    await this.#beating;
    const { stage, provider } = this.#identity;
    this.log(failure === null ? 'info' : 'error', 'The producer ended', {
      stage,
      provider,
      published: this.#published,
      ...(unpublished > 0 ? { unpublished } : {}),
      ...(failure === null ? {} : { err: failure }),
    });
    const id = await this.#id?.catch(() => null);
    if (id == null || this.#jobRuns === null) return;
    try {
      await this.#jobRuns.progress(id, this.#rows());
      const why = failure?.message ?? (unpublished > 0 ? `${unpublished} events were not published` : null);
      await this.#jobRuns.finish(id, why === null ? 'success' : 'failed', why);
    } catch (err) {
      this.log('warn', 'The end of the run is not in job_runs', { stage, err });
    }
  }

  #rows(): { rowsWritten: number; minTs: bigint | null; maxTs: bigint | null } {
    return { rowsWritten: this.#published, minTs: this.#minTs, maxTs: this.#maxTs };
  }

  #beatOnce(): void {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = null;
    });
  }

  async #beat(): Promise<void> {
    const { stage, provider, symbols, metadata } = this.#identity;
    const beat = this.#beats++;
    this.meter.set('stage_heartbeat_timestamp_seconds', { stage }, Number(this.clock.nowMicros()) / 1e6);
    if (beat % REPORT_EVERY_BEATS === 0 && this.#published > this.#reported) {
      const perSecond = Math.round(
        (this.#published - this.#reported) / ((REPORT_EVERY_BEATS * BEAT_MS) / 1000),
      );
      this.#reported = this.#published;
      this.log('info', 'Published', { stage, provider, ...this.progress, per_second: perSecond });
    }
    if (this.#jobRuns === null) return;
    try {
      this.#id ??= this.#jobRuns.start({
        jobName: 'produce',
        provider,
        symbols,
        metadata: { stage, ...metadata },
      });
      this.#id.catch(() => (this.#id = null));
      const id = await this.#id;
      if (beat % REPORT_EVERY_BEATS === 0) await this.#jobRuns.progress(id, this.#rows());
    } catch {
      // the database is away: a run that cannot be recorded is no reason to stop
    }
  }
}
