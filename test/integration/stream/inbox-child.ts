/** A tick consumer and a micro-batcher in a process of its own, until it is killed. */
import { StoreClient } from '../../../src/store/store-client.ts';
import { MicroBatcher } from '../../../src/stream/bars/micro-batcher.ts';
import { TickConsumer } from '../../../src/stream/ticks/tick-consumer.ts';
import { openBus, type BusPlace } from '../../support/bars/harness.ts';

export interface InboxChildTask {
  url: string;
  place: BusPlace;
  member: string;
  partitions: number;
  idleTimeoutMs: number;
}

const task = JSON.parse(process.argv[2] ?? '{}') as InboxChildTask;
const storeClient = new StoreClient({ dbUri: task.url, applicationName: task.member });
const bus = await openBus(task.place, task.url, storeClient, task.partitions);
const parts = { bus, storeClient, consumerName: task.member };
await new TickConsumer({ ...parts, takeoverMs: 2_000 }).start();
await new MicroBatcher({ ...parts, idleTimeoutMs: task.idleTimeoutMs }).start();
