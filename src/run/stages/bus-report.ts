import type { Env } from '../../core/env.ts';
import type { StreamBus } from '../../bus/bus.ts';
import { BusCapacity } from '../../bus/capacity.ts';
import { CAPACITY_LIMITS } from '../../core/bus/capacity.ts';
import { DEAD_LETTER_TOPIC } from '../../core/market/dead-letter.ts';
import { WEBHOOK_TOPIC } from '../../core/market/webhook-tick.ts';
import type { Meter } from '../../stream/meter.ts';
import { eventsTopic, signalsTopic } from './open-bus.ts';
import type { StreamingConfig } from '../config/streaming/load.ts';

export interface BusReportOptions {
  bus: StreamBus;
  streaming: StreamingConfig;
  /** false: another stage of this process trims and reports; this one only knows whether there is capacity */
  maintainsBus: boolean;
  env: Env;
  meter: Meter;
}

const REPORT_MS = 5_000;

/** Keeps one bus from filling up, for one process, and reports how full it is. */
export class BusReport {
  readonly #options: BusReportOptions;
  /** Whether publishers must wait. */
  readonly capacity: BusCapacity;
  #timer: NodeJS.Timeout | null = null;
  #reporting: Promise<void> | null = null;
  #trimmed = 0;
  #deadLettersRemoved = 0;

  constructor(options: BusReportOptions) {
    this.#options = options;
    const { bus, streaming, maintainsBus, env, meter } = options;
    this.capacity = new BusCapacity({
      bus,
      topics: maintainsBus ? [eventsTopic(streaming), WEBHOOK_TOPIC] : [],
      deadLetterTopic: maintainsBus ? DEAD_LETTER_TOPIC : null,
      signalsTopic: maintainsBus ? signalsTopic(streaming) : null,
      env,
      alarmed: (isAlarmed) => meter.set('bus_full', { bus: bus.kind }, isAlarmed ? 1 : 0),
      limits: {
        ...CAPACITY_LIMITS,
        retentionMs: streaming.bus.retention,
        deadLetterMs: streaming.bus.dlq_retention,
      },
    });
  }

  start(): void {
    const { bus, meter } = this.#options;
    // also of a thread that died with its alarm on
    meter.set('bus_full', { bus: bus.kind }, 0);
    this.capacity.start();
    if (!this.#options.maintainsBus) return;
    this.#timer = setInterval(() => {
      this.#reporting ??= this.#report();
    }, REPORT_MS);
    this.#reporting = this.#report();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.capacity.stop();
    await this.#reporting;
  }

  async #report(): Promise<void> {
    const { bus, streaming, meter } = this.#options;
    const labels = { bus: bus.kind };
    const { usage, alarmed, trimmed, deadLettersRemoved } = this.capacity;
    meter.set('bus_full', labels, alarmed ? 1 : 0);
    if (usage !== null) {
      meter.set('bus_bytes', labels, usage.bytes);
      meter.set('bus_max_bytes', labels, usage.maxBytes);
      meter.set('bus_dead_letter_bytes', labels, usage.topics.get(DEAD_LETTER_TOPIC) ?? 0);
    }
    meter.count('bus_trimmed_total', labels, trimmed - this.#trimmed);
    this.#trimmed = trimmed;
    meter.count('bus_dead_letters_removed_total', labels, deadLettersRemoved - this.#deadLettersRemoved);
    this.#deadLettersRemoved = deadLettersRemoved;
    try {
      for (const topic of topicsOf(streaming)) {
        const groups = new Map<string, { pending: number; lag: number }>();
        for (const { group, pending, lag } of await bus.groups(topic)) {
          const sum = groups.get(group) ?? { pending: 0, lag: 0 };
          groups.set(group, { pending: sum.pending + pending, lag: sum.lag + (lag ?? 0) });
        }
        for (const [group, { pending, lag }] of groups) {
          meter.set('bus_pending', { topic, group }, pending);
          meter.set('bus_group_lag', { topic, group }, lag);
        }
      }
    } catch {
      // the bus is away: the stages that use it log that
    } finally {
      this.#reporting = null;
    }
  }
}

/** Those whose groups are reported. */
export function topicsOf(streaming: StreamingConfig): string[] {
  return [eventsTopic(streaming), signalsTopic(streaming), WEBHOOK_TOPIC, DEAD_LETTER_TOPIC];
}
