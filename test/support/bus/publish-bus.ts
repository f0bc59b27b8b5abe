import { BusError, type BusErrorKind, type OutgoingRecord } from '../../../src/bus/bus.ts';
import type { Backpressure } from '../../../src/core/bus/capacity.ts';
import { Signal } from '../../../src/core/wait.ts';

export interface Published {
  topic: string;
  records: OutgoingRecord[];
}

/** A bus that does what the test says and remembers what it took. */
export class PublishBus {
  readonly kind = 'redis';
  readonly taken: Published[] = [];
  readonly attempts: Published[] = [];
  /** asked at each publish: null takes it */
  verdict: (attempt: Published, index: number) => BusErrorKind | 'unknown' | null = () => null;
  /** while it is set, a publish does not settle */
  held: Promise<void> | null = null;
  readonly called = new Signal();

  async publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    const attempt = { topic, records: [...records] };
    this.attempts.push(attempt);
    this.called.fire();
    if (this.held !== null) await this.held;
    const verdict = this.verdict(attempt, this.attempts.length - 1);
    if (verdict === 'unknown') throw new TypeError('a fault of ours');
    if (verdict !== null) throw new BusError(verdict, `scripted: ${verdict}`);
    this.taken.push(attempt);
    return records.map((_, at) => `${this.taken.length}-${at}`);
  }

  keys(topic = 'mdp.events'): string[] {
    return this.taken
      .filter((one) => one.topic === topic)
      .flatMap(({ records }) => records.map(({ key }) => key));
  }

  /** Resolves once publish() was called so often. */
  async attempted(times: number): Promise<void> {
    while (this.attempts.length < times) await this.called.wait();
  }
}

/** Backpressure as the test sets it, with what publishers reported. */
export class TestBackpressure implements Backpressure {
  full: boolean;
  readonly reports: ('full' | 'taken')[] = [];
  readonly #relieved: Promise<void>;

  /** @param relieved settles what waits while it is full; without it nobody waits */
  constructor(relieved: Promise<void> | null = null) {
    this.full = relieved !== null;
    this.#relieved = relieved ?? Promise.resolve();
  }

  relieved(): Promise<void> {
    return this.#relieved;
  }

  reportFull(): void {
    this.reports.push('full');
  }

  reportTaken(): void {
    this.reports.push('taken');
  }
}
