// The tick consumer as a program of one's own: market ticks from the bus into tick_data, until Ctrl-C.
//   DATABASE_URL=postgres://… REDIS_URI=redis://localhost:6379/0 node examples/tick-consumer.ts
import { createStreamBus, StoreClient, TickConsumer } from 'tick-ingester';

const databaseUrl = process.env['DATABASE_URL'];
if (databaseUrl === undefined) throw new Error('set DATABASE_URL');

const store = new StoreClient({ dbUri: databaseUrl });
await store.aopen();
const bus = await createStreamBus({ databaseUrl });

const consumer = new TickConsumer({
  bus,
  storeClient: store,
  batchSize: 100,
  consumerGroup: 'tick-consumer',
  consumerName: 'tick-1',
});
await consumer.start();
console.log('consuming; Ctrl-C ends it');

process.once('SIGINT', () => void consumer.stop());
process.once('SIGTERM', () => void consumer.stop());
await consumer.done;
await bus.close();
await store.aclose();
