import type {
  BusUsage,
  Delivery,
  GroupInfo,
  GroupMember,
  OutgoingRecord,
  PartitionReader,
  StreamBus,
} from '../../../../src/bus/bus.ts';

/** A bus of one topic whose every call is noted; failures are thrown when they are given. For the order of calls alone. */
export class ScriptedBus implements StreamBus {
  readonly kind = 'redis';
  readonly calls: string[] = [];
  readonly published: { topic: string; record: OutgoingRecord }[] = [];
  readonly acknowledged: string[] = [];
  /** handed out one batch after the other */
  readonly batches: Delivery[][] = [];
  /** by name of the call: thrown once each, first in first out */
  readonly failures = new Map<string, Error[]>();
  #left = false;

  get hasLeft(): boolean {
    return this.#left;
  }

  partitions(): number {
    return 1;
  }

  hasInbox(): boolean {
    return false;
  }

  openInbox(): Promise<never> {
    return Promise.reject(new Error('it has none'));
  }

  publish(topic: string, records: readonly OutgoingRecord[]): Promise<string[]> {
    return this.#call('publish', () => {
      for (const record of records) this.published.push({ topic, record });
      return records.map((_, index) => `${index}-0`);
    });
  }

  join(): Promise<GroupMember> {
    const member: GroupMember = {
      next: (limit) =>
        this.#call('next', async () => {
          const batch = this.batches.shift();
          if (batch === undefined) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            return [];
          }
          if (batch.length > limit) this.batches.unshift(batch.splice(limit));
          return batch;
        }),
      acknowledge: (deliveries) =>
        this.#call('acknowledge', () => {
          this.acknowledged.push(...deliveries.map(({ position }) => position));
        }),
      lagMs: () => Promise.resolve(0),
      leave: () => {
        this.#left = true;
        return Promise.resolve();
      },
    };
    return this.#call('join', () => member);
  }

  openPartition(): Promise<PartitionReader> {
    return Promise.reject(new Error('not scripted'));
  }

  follow(): Promise<never> {
    return Promise.reject(new Error('not scripted'));
  }

  read(): Promise<Delivery[]> {
    return Promise.resolve([]);
  }

  tail(): Promise<Delivery[]> {
    return Promise.resolve([]);
  }

  end(): Promise<null> {
    return Promise.resolve(null);
  }

  logName(): Promise<string> {
    return Promise.resolve('scripted');
  }

  compare(): number {
    return 0;
  }

  groups(): Promise<GroupInfo[]> {
    return Promise.resolve([]);
  }

  dropGroup(): Promise<boolean> {
    return Promise.resolve(false);
  }

  trim(): Promise<number> {
    return Promise.resolve(0);
  }

  remove(): Promise<number> {
    return Promise.resolve(0);
  }

  usage(): Promise<BusUsage> {
    return Promise.resolve({ bytes: 0, maxBytes: 1, topics: new Map() });
  }

  durability(): Promise<{ lossFree: boolean; why: string }> {
    return Promise.resolve({ lossFree: false, why: 'scripted' });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #call<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const failure = this.failures.get(name)?.shift();
    if (failure !== undefined) {
      this.calls.push(`${name} fails`);
      throw failure;
    }
    if (name !== 'next') this.calls.push(name);
    return work();
  }
}
