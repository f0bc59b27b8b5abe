import type { Env } from '../../core/env.ts';
import type { WebhookTick } from '../../core/market/webhook-tick.ts';
import type { JobRun } from '../job-run.ts';
import type { Meter } from '../meter.ts';
import type { BatchResult } from '../shared/role.ts';
import type { WebhookBatch } from './batch.ts';

export const COMPONENT = 'tick_flusher';
/** log lines for the dead letters of one batch */
const LOGGED_MAX = 3;

/** Metrics and log lines of the flusher for a settled batch. */
export class FlushReport {
  readonly #env: Env;
  readonly #meter: Meter;
  readonly #run: JobRun;

  constructor(env: Env, meter: Meter, run: JobRun) {
    this.#env = env;
    this.#meter = meter;
    this.#run = run;
  }

  wrote({ batch, stored, known, deadLetters, durationMs }: BatchResult<WebhookTick, WebhookBatch>): void {
    const meter = this.#meter;
    this.#run.wrote(stored);
    for (const { tick } of batch.ticks) this.#run.saw(tick.symbol, tick.ts);
    meter.count('webhook_stored_total', {}, stored);
    meter.count('webhook_known_total', {}, known);
    for (const { reason } of deadLetters) meter.count('errors_total', { component: COMPONENT, reason });
    if (batch.lost > 0)
      meter.count('errors_total', { component: COMPONENT, reason: 'body_lost' }, batch.lost);
    if (batch.ticks.length > 0) {
      meter.count('webhook_flushes_total', {});
      meter.observe('store_write_duration_seconds', { table: 'md_ticks' }, durationMs / 1000);
    }
    this.#env.log('info', 'TickFlusher wrote batch', {
      ticks: batch.ticks.length,
      stored,
      known,
      dead_letters: deadLetters.length,
      duration_ms: Math.round(durationMs * 10) / 10,
    });
    for (const { reason, detail, topic, msgId } of deadLetters.slice(0, LOGGED_MAX))
      this.#env.log('warn', 'TickFlusher put a tick aside', { topic, msg_id: msgId, reason, detail });
  }
}
