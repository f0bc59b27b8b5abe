import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { finished } from 'node:stream/promises';
import type { StreamBus } from '../../../../src/bus/bus.ts';
import { eventRecord } from '../../../../src/bus/publisher.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { systemClock } from '../../../../src/core/time.ts';
import { oracleRow, type Arrival } from './events.ts';
import { TOPIC } from '../../bus/harness.ts';

const BATCH = 1_000;
/** between two batches that come with the clock, ms */
const PACE_MS = 10;

/** What was published, in that order, as the oracle reads it. */
export class EventFile {
  readonly #path: string;
  readonly #stream: WriteStream;
  #closed: Promise<void> | null = null;
  count = 0;

  constructor(path: string) {
    this.#path = path;
    this.#stream = createWriteStream(path);
  }

  async add(events: readonly TickEvent[]): Promise<void> {
    this.count += events.length;
    if (!this.#stream.write(events.map(oracleRow).join(''))) await once(this.#stream, 'drain');
  }

  /** Everything is on disk; its path. */
  async close(): Promise<string> {
    this.#closed ??= finished(this.#stream.end());
    await this.#closed;
    return this.#path;
  }
}

export interface PublishOptions {
  /** what was on the bus when, by the position of the last one */
  onBatch?: (positions: readonly string[], events: readonly TickEvent[]) => void;
}

/** Onto the bus in batches, in order, as fast as it takes them. */
export async function publishAll(
  bus: Pick<StreamBus, 'publish'>,
  events: Iterable<TickEvent>,
  file: EventFile,
  { onBatch }: PublishOptions = {},
): Promise<void> {
  for (const batch of batches(events)) {
    // the file is told first: what it lacks cannot be on the bus
    await file.add(batch);
    const records = batch.map((event) => eventRecord(event, 'json'));
    const positions = await bus.publish(TOPIC, records);
    onBatch?.(positions, batch);
  }
}

/**
 * Each event when the clock reaches its moment, with the time it was taken, until `isOver` or the end. What was held up by
 * the bus follows at once.
 */
export async function publishLive(
  bus: Pick<StreamBus, 'publish'>,
  arrivals: Iterable<Arrival>,
  file: EventFile,
  isOver: () => boolean,
  { onBatch }: PublishOptions = {},
): Promise<void> {
  let due: TickEvent[] = [];
  const send = async (): Promise<void> => {
    const ingestTs = systemClock.nowMicros();
    const taken = due.map((event) => ({ ...event, ingestTs }));
    due = [];
    await publishAll(bus, taken, file, onBatch === undefined ? {} : { onBatch });
  };
  for (const { atMicros, event } of arrivals) {
    while (atMicros > Number(systemClock.nowMicros()) || due.length >= BATCH) {
      if (isOver()) return;
      const isBehind = due.length >= BATCH;
      await send();
      if (!isBehind) await delay(PACE_MS);
    }
    due.push(event);
  }
  await send();
}

function* batches<T>(items: Iterable<T>): Generator<T[]> {
  let batch: T[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
