import { envOf, type Env } from '../../core/env.ts';
import type { Encoding, StreamBus } from '../../bus/bus.ts';
import { eventRecord, Publisher, PUBLISHER_LIMITS, type PublisherLimits } from '../../bus/publisher.ts';
import type { Backpressure } from '../../core/bus/capacity.ts';
import { unlessAborted } from '../../core/wait.ts';
import { DEAD_LETTER_TOPIC } from '../../core/market/dead-letter.ts';
import type { MarketEvent } from '../../core/market/event.ts';
import {
  providersOf,
  type ProviderDeclarations,
  type Providers,
} from '../../core/market/identity/providers.ts';
import { renamed } from '../../core/market/identity/renamed.ts';
import type { JobRunTracker } from '../../store/job-runs.ts';
import { countAltered } from '../altered.ts';
import { JobRun, PROGRESS_EVERY_BEATS } from '../job-run.ts';
import { NO_METER, type Meter } from '../meter.ts';

/** Options common to all producers. */
export interface ProducerOptions {
  bus: Pick<StreamBus, 'kind' | 'publish'>;
  /** default: the bus is never full */
  backpressure?: Backpressure;
  /** default mdp.events */
  topic?: string;
  /** default json */
  encoding?: Encoding;
  /** what is declared of providers, as the consumers have it. Default: nothing */
  providers?: ProviderDeclarations;
  /** null: its runs are not recorded */
  jobRuns?: JobRunTracker | null;
  meter?: Meter;
  /** default: no log, the machine's clock */
  env?: Partial<Env>;
  limits?: PublisherLimits;
}

export interface ProducerIdentity {
  /** name in the heartbeat, errors_total and the log: synthetic, ibkr, orders */
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

const NEVER_FULL: Backpressure = {
  full: false,
  relieved: () => Promise.resolve(),
  reportFull: () => {},
  reportTaken: () => {},
};

/** Publishes a producer's events to the bus and keeps its run, metrics and progress. */
export class EventPublisher {
  readonly env: Env;
  readonly meter: Meter;
  readonly #identity: ProducerIdentity;
  readonly #encoding: Encoding;
  readonly #providers: Providers;
  readonly #publisher: Publisher;
  readonly #run: JobRun;
  #published = 0;
  /** the part of #published already reported in the log */
  #logged = 0;

  constructor(options: ProducerOptions, identity: ProducerIdentity) {
    const { stage, provider, symbols, metadata } = identity;
    this.env = envOf(options.env);
    this.meter = options.meter ?? NO_METER;
    this.#identity = identity;
    this.#encoding = options.encoding ?? 'json';
    this.#providers = providersOf(options.providers);
    this.#run = new JobRun({
      env: this.env,
      meter: this.meter,
      jobRuns: options.jobRuns ?? null,
      stage,
      start: { jobName: 'produce', provider, symbols, metadata: { stage, ...metadata } },
      onBeat: (beat) => this.#logProgress(beat),
    });
    this.#publisher = this.#makePublisher(options);
  }

  #makePublisher({ bus, topic = 'mdp.events', backpressure, limits }: ProducerOptions): Publisher {
    const component = this.#component;
    const count = (provider: string, records: number): void =>
      this.meter.count('stream_events_ingested_total', { bus: bus.kind, topic, provider }, records);
    count(this.#identity.provider, 0);
    return new Publisher({
      bus,
      topic,
      deadLetterTopic: DEAD_LETTER_TOPIC,
      backpressure: backpressure ?? NEVER_FULL,
      limits: limits ?? PUBLISHER_LIMITS,
      published: (provider, records) => {
        this.#published += records;
        this.#run.wrote(records);
        count(provider, records);
      },
      failed: (kind) => {
        if (kind === 'refused') this.meter.count('errors_total', { component, reason: 'refused_by_bus' });
        else this.meter.count('retries_total', { component });
      },
      env: this.env,
    });
  }

  get #component(): string {
    return `producer_${this.#identity.stage}`;
  }

  get progress(): ProducerProgress {
    return { published: this.#published, queued: this.#publisher.queued };
  }

  /** Aborts with the error that ended the publisher, if it fails. */
  get broken(): AbortSignal {
    return this.#publisher.broken;
  }

  start(): void {
    this.#run.start();
  }

  /**
   * Resolves when the events are queued, in order, or when `stopping` aborts: then some may not be queued. Rejects with
   * the error that ended the publisher.
   */
  async add(events: readonly MarketEvent[], stopping: AbortSignal): Promise<void> {
    if (events.length === 0) return;
    for (const { symbol, srcTs } of events) this.#run.saw(symbol, srcTs);
    countAltered(this.meter, this.#component, events);
    const records = events.map((event) => eventRecord(renamed(event, this.#providers), this.#encoding));
    await unlessAborted(this.#publisher.add(records), stopping);
  }

  /** Resolves to true when all added events are on the bus or dead letters, to false when `stopping` aborts. */
  async settled(stopping: AbortSignal): Promise<boolean> {
    return (
      (await unlessAborted(
        this.#publisher.settled().then(() => true),
        stopping,
      )) ?? false
    );
  }

  /** Publishes the queue and ends the run. */
  async finish(failure: Error | null): Promise<void> {
    const unpublished = await this.#publisher.stop();
    const { stage, provider } = this.#identity;
    this.env.log(failure === null ? 'info' : 'error', 'The producer ended', {
      stage,
      provider,
      published: this.#published,
      ...(unpublished > 0 ? { unpublished } : {}),
      ...(failure === null ? {} : { err: failure }),
    });
    const left = unpublished > 0 ? `${unpublished} events were not published` : null;
    await this.#run.finish(failure?.message ?? left);
  }

  #logProgress(beat: number): void {
    const { stage, provider } = this.#identity;
    const published = this.#published - this.#logged;
    if (beat % PROGRESS_EVERY_BEATS !== 0 || published === 0) return;
    this.#logged = this.#published;
    // one beat per second
    const perSecond = Math.round(published / PROGRESS_EVERY_BEATS);
    this.env.log('info', 'Published', { stage, provider, ...this.progress, per_second: perSecond });
  }
}
