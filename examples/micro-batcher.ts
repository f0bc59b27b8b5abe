// Both consumers of one bus in one program, until Ctrl-C: raw ticks into tick_data, and bars of 2 s into bars_ohlcv.
//   DATABASE_URL=postgres://… REDIS_URI=redis://localhost:6379/0 node examples/micro-batcher.ts
import { createStreamBus, MicroBatcher, StoreClient, TickConsumer } from 'tick-ingester';

const databaseUrl = process.env['DATABASE_URL'];
if (databaseUrl === undefined) throw new Error('set DATABASE_URL');

const bus = await createStreamBus({ databaseUrl });
const store = new StoreClient({ dbUri: databaseUrl });
await store.aopen();

const batcher = new MicroBatcher({ bus, storeClient: store, windowSeconds: 2 });
const tickConsumer = new TickConsumer({ bus, storeClient: store, batchSize: 100 });
await Promise.all([batcher.start(), tickConsumer.start()]);
console.log('making bars; Ctrl-C ends it');

const stop = (): void => void Promise.all([batcher.stop(), tickConsumer.stop()]);
process.once('SIGINT', stop);
process.once('SIGTERM', stop);
await Promise.all([batcher.done, tickConsumer.done]);
await bus.close();
await store.aclose();
