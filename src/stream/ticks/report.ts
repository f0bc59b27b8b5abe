import type { Env } from '../../core/env.ts';
import type { TickEvent } from '../../core/market/event.ts';
import type { JobRun } from '../job-run.ts';
import type { Meter } from '../meter.ts';
import { countAltered } from '../altered.ts';
import type { BatchResult } from '../shared/role.ts';
import type { TickBatch } from './batch.ts';
import { TickCollisions } from './collisions.ts';

type TickBatchResult = BatchResult<TickEvent, TickBatch>;

export const COMPONENT = 'tick_consumer';
/** log lines for the dead letters of one batch */
const LOGGED_MAX = 3;

/** Metrics and log lines of the tick consumer for a settled batch. */
export class TickReport {
  readonly #env: Env;
  readonly #meter: Meter;
  readonly #run: JobRun;
  readonly #collisions: TickCollisions;
  readonly #providers = new Set<string>();

  constructor(env: Env, meter: Meter, run: JobRun) {
    this.#env = env;
    this.#meter = meter;
    this.#run = run;
    this.#collisions = new TickCollisions(env, meter);
  }

  /** To be called every second or so. */
  beat(): void {
    this.#collisions.tell();
  }

  wrote(result: TickBatchResult): void {
    const { batch, stored, known, deadLetters, durationMs } = result;
    this.#run.wrote(stored);
    this.#countTicks(result);
    countAltered(
      this.#meter,
      COMPONENT,
      batch.ticks.map(({ tick }) => tick),
    );
    this.#collisions.settled(batch.ticks, result.refused);
    for (const { reason } of deadLetters) this.#error(reason, 1);
    if (batch.skipped.lost > 0) this.#error('body_lost', batch.skipped.lost);
    if (batch.ticks.length > 0) {
      this.#meter.observe('store_write_duration_seconds', { table: 'tick_data' }, durationMs / 1000);
      this.#meter.observe('store_bars_write_latency_seconds', {}, durationMs / 1000);
    }
    this.#env.log('info', 'TickConsumer wrote batch', {
      ticks: batch.ticks.length,
      stored,
      known,
      dead_letters: deadLetters.length,
      duration_ms: Math.round(durationMs * 10) / 10,
    });
    for (const { reason, detail, topic, msgId } of deadLetters.slice(0, LOGGED_MAX)) {
      this.#env.log('warn', 'TickConsumer put an event aside', { topic, msg_id: msgId, reason, detail });
    }
  }

  #countTicks({ batch, refused }: TickBatchResult): void {
    const meter = this.#meter;
    const counts = new Map<string, number>();
    for (const { tick } of batch.ticks) {
      counts.set(tick.provider, (counts.get(tick.provider) ?? 0) + 1);
      this.#run.saw(tick.symbol, tick.srcTs);
    }
    for (const { tick } of refused) {
      counts.set(tick.provider, (counts.get(tick.provider) ?? 0) - 1);
      meter.count('tick_forward_failures_total', { provider: tick.provider });
    }
    for (const [provider, count] of counts) {
      // a provider's failure series exists from its first tick on, at 0
      if (!this.#providers.has(provider)) {
        this.#providers.add(provider);
        meter.count('tick_forward_failures_total', { provider }, 0);
      }
      meter.count('tick_forward_total', { provider }, count);
    }
  }

  #error(reason: string, count: number): void {
    this.#meter.count('errors_total', { component: COMPONENT, reason }, count);
  }
}
