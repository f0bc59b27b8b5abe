import { Piscina } from 'piscina';
import type { Clock } from '../../core/time.ts';
import type { Ring } from '../ring.ts';
import type { ThreadStats } from '../thread-stats.ts';
import { workerFile } from '../worker.ts';
import type { ParsedBatch, ParseTask } from './parse.ts';

export interface ParserPoolHost {
  stats(thread: string, stats: ThreadStats): void;
  /** a thread exited on its own and is being replaced */
  died(error: Error): void;
}

/** Between two checks of the pool, ms: see #replenish. */
const WATCH_MS = 500;

/**
 * The parser threads. One task per thread; the pipeline bounds how many are requested, the queue bounds them once more.
 */
export class ParserPool {
  #pool: Piscina;
  readonly #create: () => Piscina;
  readonly #watch: NodeJS.Timeout;
  readonly #host: ParserPoolHost;
  readonly #clock: Clock;
  /** thread ids, in the order in which they first reported */
  readonly #threads: number[] = [];
  readonly #startedMs = new Map<ParseTask, number>();

  constructor(ring: Ring, size: number, clock: Clock, host: ParserPoolHost) {
    this.#host = host;
    this.#clock = clock;
    this.#create = () => {
      const pool = new Piscina({
        filename: workerFile(import.meta.url, 'parse').href,
        workerData: { geometry: ring.geometry, memory: ring.memory },
        minThreads: size,
        maxThreads: size,
        concurrentTasksPerWorker: 1,
        maxQueue: ring.geometry.slabCount,
        // a parser waits in its event loop, not in Atomics.wait: it must answer while idle
        atomics: 'disabled',
      });
      pool.on('error', (error: Error) => host.died(error));
      return pool;
    };
    this.#pool = this.#create();
    this.#watch = setInterval(() => this.#replenish(size), WATCH_MS);
  }

  /** Piscina starts no further thread after one died before it was ready, and its queue would wait without a limit. */
  #replenish(size: number): void {
    const pool = this.#pool;
    if (pool.threads.length >= size) return;
    this.#host.died(new Error('the thread ended before it was ready'));
    this.#pool = this.#create();
    void pool.destroy();
  }

  /** Rejects when the thread died; the frames are still in the ring. */
  async parse(task: ParseTask): Promise<ParsedBatch> {
    this.#startedMs.set(task, this.#clock.monotonicMs());
    try {
      const result = (await this.#pool.run(task)) as {
        parsed: ParsedBatch;
        stats: ThreadStats;
        threadId: number;
      };
      this.#host.stats(`parser-${this.#index(result.threadId)}`, result.stats);
      return result.parsed;
    } finally {
      this.#startedMs.delete(task);
    }
  }

  /** How long the oldest task has been in flight, ms; 0 when none is. */
  get oldestMs(): number {
    const [oldest] = this.#startedMs.values();
    return oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest;
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    await this.#pool.destroy();
  }

  #index(threadId: number): number {
    const known = this.#threads.indexOf(threadId);
    return known >= 0 ? known : this.#threads.push(threadId) - 1;
  }
}
