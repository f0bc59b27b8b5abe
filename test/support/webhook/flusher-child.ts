/** A flusher in a process of its own, until it is killed. */
import { WEBHOOK_TOPIC } from '../../../src/core/market/webhook-tick.ts';
import { StoreClient } from '../../../src/store/store-client.ts';
import { TickFlusher } from '../../../src/stream/webhook/tick-flusher.ts';
import type { BusOpener } from '../../conformance/bus-server.ts';
import { testEnv } from '../bus/env.ts';
import { until } from '../until.ts';

export interface FlusherTask {
  module: string;
  address: string;
  databaseUrl: string;
  partitions: number;
  member: string;
  /** true: it never acknowledges what it has stored, as if it died between the two */
  holdAck: boolean;
}

const task = JSON.parse(process.argv[2] ?? '{}') as FlusherTask;
const { openBus } = (await import(task.module)) as { openBus: BusOpener };
const storeClient = new StoreClient({ dbUri: task.databaseUrl, applicationName: task.member });
const options = {
  partitions: { [WEBHOOK_TOPIC]: task.partitions },
  maxBytes: 2 ** 31,
  clientName: task.member,
  checkpoints: storeClient.busCheckpoints,
  env: testEnv(),
};
// as ConnectedStage waits for it: its server may be down at the moment
const bus = await until('the bus answers', () => openBus(task.address, options).catch(() => null));
if (task.holdAck) {
  const join = bus.join.bind(bus);
  bus.join = async (options) => {
    const member = await join(options);
    member.acknowledge = () => new Promise(() => {});
    return member;
  };
}
const flusher = new TickFlusher({
  bus,
  storeClient,
  consumerName: task.member,
  flushIntervalMs: 100,
  takeoverMs: 2_000,
});
await flusher.start();
console.log('started');
await flusher.done;
