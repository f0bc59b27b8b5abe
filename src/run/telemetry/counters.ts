import { Counter, Gauge, type Registry } from 'prom-client';
import type { Micros } from '../../core/time.ts';
import { FedCounter } from './monotonic-feed.ts';

/** What each thread costs, and that it lives. */
export class ThreadMetrics {
  readonly #cpu: Counter<'thread'>;
  readonly #loopDelay: Gauge<'thread'>;
  readonly #heartbeat: Gauge<'stage' | 'thread'>;
  readonly #cpuCounters = new Map<string, FedCounter>();

  constructor(registry: Registry) {
    this.#cpu = new Counter({
      name: 'tick_ingester_thread_cpu_seconds_total',
      help: 'User and system time by thread.',
      labelNames: ['thread'],
      registers: [registry],
    });
    this.#loopDelay = new Gauge({
      name: 'tick_ingester_event_loop_delay_p99_seconds',
      help: 'p99 of the event-loop delay since the last report, by thread.',
      labelNames: ['thread'],
      registers: [registry],
    });
    this.#heartbeat = new Gauge({
      name: 'stage_heartbeat_timestamp_seconds',
      help: 'When a thread of a stage last made progress or waited for a known reason.',
      labelNames: ['stage', 'thread'],
      registers: [registry],
    });
  }

  /** `cpuMs` is the thread's own total, which starts at 0 again in a thread that was restarted. */
  report(thread: string, loopDelayP99Ms: number, cpuMs: number): void {
    this.#loopDelay.set({ thread }, loopDelayP99Ms / 1000);
    let counter = this.#cpuCounters.get(thread);
    if (counter === undefined) {
      counter = new FedCounter((delta) => this.#cpu.inc({ thread }, delta));
      this.#cpuCounters.set(thread, counter);
    }
    counter.feed(thread, cpuMs / 1000);
  }

  heartbeat(stage: string, thread: string, at: Micros): void {
    this.#heartbeat.set({ stage, thread }, Number(at) / 1e6);
  }

  /** For a thread that ended for good. Its CPU time stays: a counter that vanishes looks like a restart. */
  remove(stage: string, thread: string): void {
    this.#loopDelay.remove({ thread });
    this.#heartbeat.remove({ stage, thread });
  }
}
