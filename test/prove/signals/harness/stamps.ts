/**
 * Loaded into `mdp stream signals` by --import: notes when events and signals go through the member, by the machine's clock, and writes
 * that at its end into the file that STAMPS names. The program stays what it is: methods are called through.
 */
import { writeFileSync } from 'node:fs';
import type { PartitionReader } from '../../../../src/bus/bus.ts';
import type { RedisPublisher } from '../../../../src/bus/redis/publisher.ts';
import type { PartitionRows } from '../../../../src/core/signal/partition-rows.ts';
import { signalId } from '../../../../src/core/signal/signal.ts';
import type { SignalsStore } from '../../../../src/store/signals/signals-store.ts';

/** Of each read and each step, ms since 1970 with fractions. */
export interface Stamps {
  /** the reader has the events of these positions; the features are up to date with them */
  reads: { positions: string[]; readMs: number; computedMs: number }[];
  /** the transaction of the signals of these ids is sent; COMMIT is answered */
  steps: { ids: string[]; sentMs: number; committedMs: number }[];
  /** the bus is given them; it has them */
  publications: { ids: string[]; calledMs: number; answeredMs: number }[];
}

const DIST = new URL('../../../../dist/', import.meta.url);
const stamps: Stamps = { reads: [], steps: [], publications: [] };
/** ids are made at the end: here it would take the time that is measured */
const unnamed: (() => void)[] = [];

const nowMs = (): number => performance.timeOrigin + performance.now();

async function prototypeOf<T>(file: string, name: string): Promise<T> {
  const module = (await import(new URL(file, DIST).href)) as Record<string, { prototype: T }>;
  return module[name].prototype;
}

/** Unbound: it is called with the `this` of the call that it takes part in. */
function methodOf<T, K extends keyof T>(owner: T, name: K): T[K] {
  return owner[name];
}

const reader = await prototypeOf<PartitionReader>('bus/redis/partition-reader.js', 'RedisPartitionReader');
const next = methodOf(reader, 'next');
reader.next = async function (...args) {
  const deliveries = await next.apply(this, args);
  if (deliveries.length === 0) return deliveries;
  const read = { positions: [] as string[], readMs: nowMs(), computedMs: NaN };
  stamps.reads.push(read);
  unnamed.push(() => (read.positions = deliveries.map(({ position }) => position)));
  return deliveries;
};

const rows = await prototypeOf<PartitionRows>('core/signal/partition-rows.js', 'PartitionRows');
const closeIdle = methodOf(rows, 'closeIdle');
// called right behind the last event of a read
rows.closeIdle = function (quietMs) {
  const read = stamps.reads.at(-1);
  if (read !== undefined && Number.isNaN(read.computedMs)) read.computedMs = nowMs();
  return closeIdle.call(this, quietMs);
};

const store = await prototypeOf<SignalsStore>('store/signals/signals-store.js', 'SignalsStore');
const write = methodOf(store, 'write');
store.write = async function (signals, frame, areKnown) {
  const step = { ids: [] as string[], sentMs: nowMs(), committedMs: NaN };
  const result = await write.call(this, signals, frame, areKnown);
  step.committedMs = nowMs();
  stamps.steps.push(step);
  unnamed.push(() => (step.ids = signals.map(signalId)));
  return result;
};

const publisher = await prototypeOf<RedisPublisher>('bus/redis/publisher.js', 'RedisPublisher');
const publish = methodOf(publisher, 'publish');
publisher.publish = async function (topic, partitions, records) {
  const publication = { ids: [] as string[], calledMs: nowMs(), answeredMs: NaN };
  const positions = await publish.call(this, topic, partitions, records);
  publication.answeredMs = nowMs();
  stamps.publications.push(publication);
  unnamed.push(() => (publication.ids = records.map(({ eventId }) => eventId ?? '')));
  return positions;
};

process.once('exit', () => {
  for (const name of unnamed) name();
  writeFileSync(process.env['STAMPS'] ?? '', JSON.stringify(stamps));
});
