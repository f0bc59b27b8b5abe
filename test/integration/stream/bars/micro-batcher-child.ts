/** A member of the micro-batcher in a process of its own, on the postgres bus. SIGTERM: leaves. */
import { StoreClient } from '../../../../src/store/store-client.ts';
import { MicroBatcher } from '../../../../src/stream/bars/micro-batcher.ts';
import { openBus } from '../../../support/bars/harness.ts';

const [url = '', member = '', partitions = '', idleTimeoutMs = ''] = process.argv.slice(2);
const storeClient = new StoreClient({ dbUri: url, applicationName: member });
const bus = await openBus({ kind: 'postgres' }, url, storeClient, Number(partitions));
const batcher = new MicroBatcher({
  bus,
  storeClient,
  consumerName: member,
  idleTimeoutMs: Number(idleTimeoutMs),
});
await batcher.start();
process.once('SIGTERM', () => {
  void batcher.stop();
});
await batcher.done;
await bus.close();
await storeClient.aclose();
