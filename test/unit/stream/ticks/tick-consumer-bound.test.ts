import { test } from 'tap';
import type { Delivery } from '../../../../src/bus/bus.ts';
import type { TickDataRow } from '../../../../src/core/copy/tick-data.ts';
import type { StoreClient } from '../../../../src/store/store-client.ts';
import { TickConsumer } from '../../../../src/stream/ticks/tick-consumer.ts';
import { WeakCrowd } from '../../../support/garbage.ts';
import { until } from '../../../support/until.ts';
import { ScriptedBus } from './scripted-bus.ts';

const BATCH = 50;

/** A store that answers when it is told to. */
class SlowStore {
  readonly #waiting: (() => void)[] = [];
  writes = 0;
  readonly jobRuns = {
    start: () => Promise.resolve(1),
    progress: () => Promise.resolve(),
    finish: () => Promise.resolve(),
  };

  claimGroup(): Promise<void> {
    return Promise.resolve();
  }

  async writeTicks(rows: readonly TickDataRow[]): Promise<unknown> {
    const { length } = rows;
    this.writes += 1;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return { stored: length, known: 0, conflicts: [] };
  }

  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** Makes its batches only when they are asked for, and knows which of them somebody still holds. */
class EndlessBus extends ScriptedBus {
  readonly handedOut = new WeakCrowd();
  #seq = 0;

  override async join(): ReturnType<ScriptedBus['join']> {
    const member = await super.join();
    return { ...member, next: (limit) => Promise.resolve(Array.from({ length: limit }, () => this.#make())) };
  }

  #make(): Delivery {
    this.#seq += 1;
    const text = `{"provider":"p","symbol":"SPY","kind":"tick","src_ts":"2025-10-24T14:02:01Z","price":1,"seq":${this.#seq}}`;
    const delivery: Delivery = {
      topic: 'mdp.events',
      partition: 0,
      position: `${this.#seq}-0`,
      takenMs: Date.UTC(2025, 9, 24, 14, 3),
      key: null,
      eventId: null,
      encoding: 'json',
      data: Buffer.from(text),
      attempts: 1,
    };
    this.handedOut.add(delivery);
    return delivery;
  }
}

void test('a slow database: the batch that is written and the next one are held, and nothing else', async (t) => {
  const bus = new EndlessBus();
  const store = new SlowStore();
  const consumer = new TickConsumer({
    bus,
    storeClient: store as unknown as StoreClient,
    batchSize: BATCH,
    batchMax: BATCH,
  });
  await consumer.start();
  for (let write = 1; write <= 20; write += 1) {
    await until(`write ${write}`, () => store.writes === write, { pollMs: 1 });
    const taken = bus.handedOut.size;
    t.ok(taken <= (write + 1) * BATCH, `${taken} taken while write ${write} is under way`);
    const held = await bus.handedOut.alive();
    t.ok(held <= 2 * BATCH, `${held} of ${taken} are held`);
    store.answer();
  }
  const stopping = consumer.stop();
  const timer = setInterval(() => store.answer(), 1);
  await stopping;
  clearInterval(timer);
  t.ok((await bus.handedOut.alive()) <= 2 * BATCH);
});
